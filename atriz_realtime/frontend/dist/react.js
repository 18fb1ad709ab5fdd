import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { follow } from './follow.js';
import { createTracker } from './tracker.js';
export { TrackingError } from './model.js';
export function useVehicleTracking(vehicleId, token, options) {
    return useTracking('vehicle', vehicleId, token, options);
}
export function useDeliveryTracking(deliveryId, token, options) {
    return useTracking('delivery', deliveryId, token, options);
}
export function useTracking(type, id, token, options = {}) {
    const connect = useSharedTracker(token, options);
    const tracked = useMemo(() => new Store(NOTHING, (show) => {
        if (id === '' || connect === undefined)
            return () => undefined;
        const { tracker, release } = connect();
        const stop = follow(tracker, type, id, show);
        return () => {
            stop();
            release();
        };
    }), [connect, type, id]);
    return useStore(tracked, NOTHING);
}
export function useConnection(token, options = {}) {
    const connect = useSharedTracker(token, options);
    const connection = useMemo(() => new Store(CONNECTING, (show) => {
        if (connect === undefined)
            return () => undefined;
        const { tracker, release } = connect();
        const reconnect = () => tracker.reconnect();
        const changed = () => show({ status: tracker.status, problem: tracker.problem, reconnect });
        changed();
        const removals = [tracker.onStatus(changed), tracker.onError(changed)];
        return () => {
            for (const remove of removals)
                remove();
            release();
        };
    }), [connect]);
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
const connections = new Map();
function useSharedTracker(token, options) {
    const { url = serverUrl(), path, transports, user } = options;
    const [component] = useState({ token });
    const key = token === '' ? '' : JSON.stringify([url, path, transports, user, typeof token === 'string' ? token : null]);
    useEffect(() => {
        component.token = token;
        const users = connections.get(key)?.users;
        if (users?.delete(component))
            users.add(component);
    });
    return useMemo(() => (key === '' ? undefined : () => acquire(key, url, options, component)), [key]);
}
function acquire(key, url, options, component) {
    const shared = connections.get(key) ?? open(url, options, component);
    connections.set(key, shared);
    shared.users.add(component);
    const release = () => {
        shared.users.delete(component);
        setTimeout(() => {
            if (shared.users.size > 0 || connections.get(key) !== shared)
                return;
            shared.tracker.close();
            connections.delete(key);
        });
    };
    return { tracker: shared.tracker, release };
}
function open(url, { path, transports }, first) {
    const users = new Set();
    const newest = () => {
        const { token } = [...users].at(-1) ?? first;
        return typeof token === 'string' ? token : token();
    };
    const token = typeof first.token === 'string' ? first.token : newest;
    return { tracker: createTracker(url, { token, path, transports }), users };
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
