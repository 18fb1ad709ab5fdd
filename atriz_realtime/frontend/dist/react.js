import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { follow } from './follow.js';
import { createTracker } from './tracker.js';
export { TrackingError, } from './model.js';
export function useVehicleTracking(vehicleId, token, options) {
    return useTracking('vehicle', vehicleId, token, options);
}
export function useDeliveryTracking(deliveryId, token, options) {
    return useTracking('delivery', deliveryId, token, options);
}
export function useTracking(type, id, token, options) {
    return useShared(id && token, options, NOTHING, (tracker, show) => follow(tracker, type, id, show), type, id);
}
export function useConnection(token, options) {
    return useShared(token, options, CONNECTING, (tracker, show) => {
        const reconnect = () => tracker.reconnect();
        const changed = () => show({ status: tracker.status, problem: tracker.problem, reconnect });
        changed();
        const removals = [tracker.onStatus(changed), tracker.onError(changed)];
        return () => {
            for (const remove of removals)
                remove();
        };
    });
}
export function useTracker(token, options) {
    return useShared(token, options, null, (tracker, show) => {
        show(tracker);
        return () => undefined;
    });
}
const NOTHING = { location: null, connected: false, error: null };
const CONNECTING = { status: 'connecting', problem: null, reconnect: () => undefined };
function useShared(token, options = {}, first, start, ...parts) {
    const { url = serverUrl(), path, transports, user } = options;
    const [component] = useState({ token });
    const key = token === '' ? '' : JSON.stringify([url, path, transports, user, typeof token === 'string' ? token : null]);
    useEffect(() => {
        component.token = token;
        const users = connections.get(key)?.users;
        if (users?.delete(component))
            users.add(component);
    });
    const [subscribe, read] = useMemo(() => {
        let now = first;
        const subscribe = (changed) => {
            if (key === '')
                return () => undefined;
            const { tracker, release } = acquire(key, url, options, component);
            const stop = start(tracker, (state) => {
                now = state;
                changed();
            });
            return () => {
                stop();
                release();
            };
        };
        return [subscribe, () => now];
    }, [key, ...parts]);
    return useSyncExternalStore(subscribe, read, () => first);
}
const connections = new Map();
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
