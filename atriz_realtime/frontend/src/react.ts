import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';

import type { Location, TrackingError } from './model.js';
import { createTracker, type Token, type Tracker } from './tracker.js';

export interface TrackingOptions {
  /** The server; else `process.env.REACT_APP_WS_URL` where that is built in, else the page's own. */
  url?: string;
  /** The path of the server's Socket.IO. */
  path?: string;
}

export interface Tracking {
  /** The newest position; `null` until one has come. */
  location: Location | null;
  /** Whether positions can come now. */
  connected: boolean;
  /** Why the entity is not followed; `null` while it is. */
  error: TrackingError | null;
}

/** Follow a vehicle for as long as the component is there. */
export function useVehicleTracking(vehicleId: string, token: Token, options?: TrackingOptions): Tracking {
  return useTracking('vehicle', vehicleId, token, options);
}

/** Follow a delivery for as long as the component is there. */
export function useDeliveryTracking(deliveryId: string, token: Token, options?: TrackingOptions): Tracking {
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
export function useTracking(type: string, id: string, token: Token, options: TrackingOptions = {}): Tracking {
  const { url = serverUrl(), path } = options;
  const followed = useMemo(() => new Followed(url, path, token, type, id), [url, path, token, type, id]);
  const subscribe = useCallback((changed: () => void) => followed.subscribe(changed), [followed]);
  useEffect(() => followed.follow(), [followed]);
  return useSyncExternalStore(subscribe, () => followed.shown, () => NOTHING);
}

const NOTHING: Tracking = { location: null, connected: false, error: null };

/** What one component shows of one entity. */
class Followed {
  shown = NOTHING;
  #changed = new Set<() => void>();

  constructor(
    readonly url: string,
    readonly path: string | undefined,
    readonly token: Token,
    readonly type: string,
    readonly id: string,
  ) {}

  subscribe(changed: () => void): () => void {
    this.#changed.add(changed);
    return () => void this.#changed.delete(changed);
  }

  /** Begin; returns what ends it. */
  follow(): () => void {
    const { url, path, token, type, id } = this;
    if (id === '') return () => undefined;
    const { tracker, release } = shared(url, path, token);
    const endings = [
      tracker.onLocation(({ location }) => this.#show({ location }), type, id),
      tracker.onStatus((status) => this.#show({ connected: status === 'connected' })),
      tracker.onError((error) => {
        if (error.entity?.type === type && error.entity.id === id) this.#show({ error });
      }),
    ];
    this.#show({
      location: tracker.last(type, id)?.location ?? null,
      connected: tracker.status === 'connected',
      error: null,
    });
    let over = false;
    tracker.track(type, id).catch((error: TrackingError) => {
      if (!over) this.#show({ error });
    });
    return () => {
      over = true;
      for (const end of endings) end();
      tracker.untrack(type, id);
      release();
    };
  }

  #show(change: Partial<Tracking>): void {
    this.shown = { ...this.shown, ...change };
    for (const changed of this.#changed) changed();
  }
}

interface Shared {
  readonly tracker: Tracker;
  uses: number;
}

const trackers = new Map<string, Map<Token, Shared>>();

/** A tracker that all components with the same server and token use, and how to give it back. */
function shared(url: string, path: string | undefined, token: Token): { tracker: Tracker; release: () => void } {
  const server = `${url} ${path ?? ''}`;
  const ofServer = trackers.get(server) ?? new Map<Token, Shared>();
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
      if (entry.uses > 0 || ofServer.get(token) !== entry) return;
      entry.tracker.close();
      ofServer.delete(token);
      if (ofServer.size === 0) trackers.delete(server);
    });
  };
  return { tracker: entry.tracker, release };
}

declare const process: { env: { REACT_APP_WS_URL?: string } };

function serverUrl(): string {
  try {
    const url = process.env.REACT_APP_WS_URL; // bundlers put the value in its place
    if (url !== undefined) return url;
  } catch {
    // no bundler has, and a browser has no process
  }
  return typeof window === 'undefined' ? '' : window.location.origin;
}
