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
    const tracked = useMemo(() => new Store(NOTHING, (show) => {
        if (id === '')
            return () => undefined;
        const { tracker, release } = shared(url, path, token);
        const stop = follow(tracker, type, id, show);
        return () => {
            stop();
            release();
        };
    }), [url, path, token, type, id]);
    return useStore(tracked, NOTHING);
}
export function useConnection(token, options = {}) {
    const { url = serverUrl(), path } = options;
    const connection = useMemo(() => new Store(CONNECTING, (show) => {
        const { tracker, release } = shared(url, path, token);
        const reconnect = () => tracker.reconnect();
        const changed = () => show({ status: tracker.status, problem: tracker.problem, reconnect });
        changed();
        const removals = [tracker.onStatus(changed), tracker.onError(changed)];
        return () => {
            for (const remove of removals)
                remove();
            release();
        };
    }), [url, path, token]);
    return useStore(connection, CONNECTING);
}
const NOTHING = { location: null, connected: false, error: null };
const CONNECTING = { status: 'connecting', problem: null, reconnect: () => undefined };
class Store {
    state;
    start;
    #changed = new Set();
    constructor(state, start) {
        this.state = state;
        this.start = start;
    }
    show(state) {
        this.state = state;
        for (const changed of this.#changed)
            changed();
    }
    subscribe(changed) {
        this.#changed.add(changed);
        return () => void this.#changed.delete(changed);
    }
}
function useStore(store, onServer) {
    const subscribe = useCallback((changed) => store.subscribe(changed), [store]);
    useEffect(() => store.start((state) => store.show(state)), [store]);
    return useSyncExternalStore(subscribe, () => store.state, () => onServer);
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
