import { useEffect, useState } from 'react';
import { io, Socket } from 'socket.io-client';

export function useVehicleTracking(vehicleId: string, token: string) {
  const [location, setLocation] = useState<any>(null);
  const [connected, setConnected] = useState(false);

  useEffect(() => {
    const socket = io(process.env.REACT_APP_WS_URL!, {
      auth: { token }
    });

    socket.on('connect', () => {
      setConnected(true);
      socket.emit('authenticate', token);
    });

    socket.on('authenticated', (data) => {
      if (data.success) {
        socket.emit('track:vehicle', vehicleId);
      }
    });

    socket.on('location:update', (data) => {
      setLocation(data.location);
    });

    socket.on('disconnect', () => {
      setConnected(false);
    });

    return () => {
      socket.emit('untrack:vehicle', vehicleId);
      socket.close();
    };
  }, [vehicleId, token]);

  return { location, connected };
}
