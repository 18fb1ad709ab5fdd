import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import { follow } from './follow.js';
import { createTracker } from './tracker.js';
export function useVehicleTracking(vehicleId, token, options) {
    return useTracking('vehicle', vehicleId, token, options);
}
export function useDeliveryTracking(deliveryId, token, options) {
    return useTracking('delivery', deliveryId, token, options);
}
export function useTracking(type, id, token, options = {}) {
    const { url = serverUrl(), path } = options;
    const tracked = useMemo(() => new Tracked(url, path, token, type, id), [url, path, token, type, id]);
    const subscribe = useCallback((changed) => tracked.subscribe(changed), [tracked]);
    useEffect(() => tracked.start(), [tracked]);
    return useSyncExternalStore(subscribe, () => tracked.state, () => NOTHING);
}
const NOTHING = { location: null, connected: false, error: null };
class Tracked {
    url;
    path;
    token;
    type;
    id;
    state = NOTHING;
    #changed = new Set();
    constructor(url, path, token, type, id) {
        this.url = url;
        this.path = path;
        this.token = token;
        this.type = type;
        this.id = id;
    }
    subscribe(changed) {
        this.#changed.add(changed);
        return () => void this.#changed.delete(changed);
    }
    start() {
        const { url, path, token, type, id } = this;
        if (id === '')
            return () => undefined;
        const { tracker, release } = shared(url, path, token);
        const stop = follow(tracker, type, id, (now) => {
            this.state = now;
            for (const changed of this.#changed)
                changed();
        });
        return () => {
            stop();
            release();
        };
    }
}
const trackers = new Map();
function shared(url, path, token) {
    const server = `${url} ${path ?? ''}`;
    const ofServer = trackers.get(server) ?? new Map();
    trackers.set(server, ofServer);
    const entry = ofServer.get(token) ?? {
        tracker: createTracker(url, { token, ...(path === undefined ? {} : { path }) }),
        uses: 0,
    };
    ofServer.set(token, entry);
    entry.uses += 1;
    const release = () => {
        entry.uses -= 1;
        setTimeout(() => {
            if (entry.uses > 0 || ofServer.get(token) !== entry)
                return;
            entry.tracker.close();
            ofServer.delete(token);
            if (ofServer.size === 0)
                trackers.delete(server);
        });
    };
    return { tracker: entry.tracker, release };
}
function serverUrl() {
    try {
        const url = process.env.REACT_APP_WS_URL;
        if (url !== undefined)
            return url;
    }
    catch {
    }
    return globalThis.location?.origin ?? '';
}
