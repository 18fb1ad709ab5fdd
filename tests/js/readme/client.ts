import { io } from 'socket.io-client';

const socket = io('http://localhost:3001', {
  auth: { token: authToken }
});

socket.on('connect', () => {
  console.log('Connected to tracking server');
  
  // Authenticate
  socket.emit('authenticate', authToken);
});

socket.on('authenticated', (data) => {
  if (data.success) {
    // Subscribe to vehicle tracking
    socket.emit('track:vehicle', vehicleId);
  }
});

socket.on('location:update', (data) => {
  console.log('New location:', data.location);
  // Update map marker, etc.
});
