import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';

import { follow, type Tracking } from './follow.js';
import type { Status, TrackingError } from './model.js';
import { createTracker, type Token, type Tracker } from './tracker.js';

export type { Tracking } from './follow.js';
export type { Status, TrackingError } from './model.js';

export interface TrackingOptions {
  /** The URL of the server. Default: `process.env.REACT_APP_WS_URL` if the bundler sets it, or else the origin of the page. */
  url?: string;
  /** The Socket.IO path of the server. */
  path?: string;
}

/** Track a vehicle while the component is mounted. */
export function useVehicleTracking(vehicleId: string, token: Token, options?: TrackingOptions): Tracking {
  return useTracking('vehicle', vehicleId, token, options);
}

/** Track a delivery while the component is mounted. */
export function useDeliveryTracking(deliveryId: string, token: Token, options?: TrackingOptions): Tracking {
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
export function useTracking(type: string, id: string, token: Token, options: TrackingOptions = {}): Tracking {
  const { url = serverUrl(), path } = options;
  const tracked = useMemo(
    () =>
      new Store(NOTHING, (show) => {
        if (id === '') return () => undefined;
        const { tracker, release } = shared(url, path, token);
        const stop = follow(tracker, type, id, show);
        return () => {
          stop();
          release();
        };
      }),
    [url, path, token, type, id],
  );
  return useStore(tracked, NOTHING);
}

/** The state of a connection, for a view that shows it. */
export interface Connection {
  status: Status;
  /** Why there is no connection, also while the tracker tries again; `null` while there is one or no reason is known. */
  problem: TrackingError | null;
  /** Try again after `refused`. */
  reconnect: () => void;
}

/** The connection that the components with the same server and token share. */
export function useConnection(token: Token, options: TrackingOptions = {}): Connection {
  const { url = serverUrl(), path } = options;
  const connection = useMemo(
    () =>
      new Store(CONNECTING, (show) => {
        const { tracker, release } = shared(url, path, token);
        const reconnect = () => tracker.reconnect();
        const changed = () => show({ status: tracker.status, problem: tracker.problem, reconnect });
        changed();
        const removals = [tracker.onStatus(changed), tracker.onError(changed)];
        return () => {
          for (const remove of removals) remove();
          release();
        };
      }),
    [url, path, token],
  );
  return useStore(connection, CONNECTING);
}

const NOTHING: Tracking = { location: null, connected: false, error: null };
const CONNECTING: Connection = { status: 'connecting', problem: null, reconnect: () => undefined };

/** What a component shows, as an external store for React. */
class Store<State> {
  readonly #changed = new Set<() => void>();

  /** @param start Called when the component is mounted, with a function that shows a state; returns one that ends it. */
  constructor(
    public state: State,
    readonly start: (show: (state: State) => void) => () => void,
  ) {}

  show(state: State): void {
    this.state = state;
    for (const changed of this.#changed) changed();
  }

  subscribe(changed: () => void): () => void {
    this.#changed.add(changed);
    return () => void this.#changed.delete(changed);
  }
}

function useStore<State>(store: Store<State>, onServer: State): State {
  const subscribe = useCallback((changed: () => void) => store.subscribe(changed), [store]);
  useEffect(() => store.start((state) => store.show(state)), [store]);
  return useSyncExternalStore(subscribe, () => store.state, () => onServer);
}

interface Shared {
  readonly tracker: Tracker;
  uses: number;
}

const trackers = new Map<string, Map<Token, Shared>>();

/** The tracker that components with the same server and token share, and a function to release it. */
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
    // a component that is rendered again releases and acquires within one task
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
    const url = process.env.REACT_APP_WS_URL; // a bundler replaces this expression
    if (url !== undefined) return url;
  } catch {
    // no bundler did, and browsers have no `process`
  }
  return globalThis.location?.origin ?? ''; // React Native has no location
}
