import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import { createTracker } from './tracker.js';
/** Follow a vehicle for as long as the component is there. */
export function useVehicleTracking(vehicleId, token, options) {
    return useTracking('vehicle', vehicleId, token, options);
}
/** Follow a delivery for as long as the component is there. */
export function useDeliveryTracking(deliveryId, token, options) {
    return useTracking('delivery', deliveryId, token, options);
}
/**
 * Follow an entity of any type for as long as the component is there.
 *
 * Components with the same server and token share a connection. A token function must stay the same one
 * between renderings, as one declared outside of components does; a new one is a new connection.
 *
 * @param id Nothing is followed while it is empty.
 */
export function useTracking(type, id, token, options = {}) {
    const { url = serverUrl(), path } = options;
    const followed = useMemo(() => new Followed(url, path, token, type, id), [url, path, token, type, id]);
    const subscribe = useCallback((changed) => followed.subscribe(changed), [followed]);
    useEffect(() => followed.follow(), [followed]);
    return useSyncExternalStore(subscribe, () => followed.shown, () => NOTHING);
}
const NOTHING = { location: null, connected: false, error: null };
/** What one component shows of one entity. */
class Followed {
    url;
    path;
    token;
    type;
    id;
    shown = NOTHING;
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
    /** Begin; returns what ends it. */
    follow() {
        const { url, path, token, type, id } = this;
        if (id === '')
            return () => undefined;
        const { tracker, release } = shared(url, path, token);
        const endings = [
            tracker.onLocation(({ location }) => this.#show({ location }), type, id),
            tracker.onStatus((status) => this.#show({ connected: status === 'connected' })),
            tracker.onError((error) => {
                if (error.entity?.type === type && error.entity.id === id)
                    this.#show({ error });
            }),
        ];
        this.#show({
            location: tracker.last(type, id)?.location ?? null,
            connected: tracker.status === 'connected',
            error: null,
        });
        let over = false;
        tracker.track(type, id).catch((error) => {
            if (!over)
                this.#show({ error });
        });
        return () => {
            over = true;
            for (const end of endings)
                end();
            tracker.untrack(type, id);
            release();
        };
    }
    #show(change) {
        this.shown = { ...this.shown, ...change };
        for (const changed of this.#changed)
            changed();
    }
}
const trackers = new Map();
/** A tracker that all components with the same server and token use, and how to give it back. */
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
        // a component that is drawn anew gives back and takes in one turn
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
        const url = process.env.REACT_APP_WS_URL; // bundlers put the value in its place
        if (url !== undefined)
            return url;
    }
    catch {
        // no bundler has, and a browser has no process
    }
    return typeof window === 'undefined' ? '' : window.location.origin;
}
