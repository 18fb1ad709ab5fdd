import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import { createTracker } from './tracker.js';
/** Track a vehicle while the component is mounted. */
export function useVehicleTracking(vehicleId, token, options) {
    return useTracking('vehicle', vehicleId, token, options);
}
/** Track a delivery while the component is mounted. */
export function useDeliveryTracking(deliveryId, token, options) {
    return useTracking('delivery', deliveryId, token, options);
}
/**
 * Track an entity of any type while the component is mounted.
 *
 * Components with the same server and token share a connection. A token function must keep its identity
 * between renders, as one that is declared outside of components does; a new function opens a new connection.
 *
 * @param id While it is empty, nothing is tracked.
 */
export function useTracking(type, id, token, options = {}) {
    const { url = serverUrl(), path } = options;
    const tracked = useMemo(() => new Tracked(url, path, token, type, id), [url, path, token, type, id]);
    const subscribe = useCallback((changed) => tracked.subscribe(changed), [tracked]);
    useEffect(() => tracked.start(), [tracked]);
    return useSyncExternalStore(subscribe, () => tracked.state, () => NOTHING);
}
const NOTHING = { location: null, connected: false, error: null };
/** The entity that a component tracks, as an external store for React. */
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
    /** Start to track; returns a function that stops it. */
    start() {
        const { url, path, token, type, id } = this;
        if (id === '')
            return () => undefined;
        const { tracker, release } = shared(url, path, token);
        let refusal = null;
        const unsubscribe = [
            tracker.onLocation(({ location }) => this.#update({ location }), type, id),
            tracker.onStatus((status) => {
                this.#update({ connected: status === 'connected', ...(status === 'refused' && { error: refusal }) });
            }),
            tracker.onError((error) => {
                if (error.entity === undefined)
                    refusal = error;
                else if (error.entity.type === type && error.entity.id === id)
                    this.#update({ error });
            }),
        ];
        this.#update({
            location: tracker.last(type, id)?.location ?? null,
            connected: tracker.status === 'connected',
            error: null,
        });
        let stopped = false;
        tracker.track(type, id).catch((error) => {
            if (!stopped)
                this.#update({ error });
        });
        return () => {
            stopped = true;
            for (const remove of unsubscribe)
                remove();
            tracker.untrack(type, id);
            release();
        };
    }
    #update(change) {
        this.state = { ...this.state, ...change };
        for (const changed of this.#changed)
            changed();
    }
}
const trackers = new Map();
/** The tracker that components with the same server and token share, and a function to release it. */
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
        // a component that is rendered again releases and acquires within one task
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
        const url = process.env.REACT_APP_WS_URL; // a bundler replaces this expression
        if (url !== undefined)
            return url;
    }
    catch {
        // no bundler did, and browsers have no `process`
    }
    return typeof window === 'undefined' ? '' : window.location.origin;
}
