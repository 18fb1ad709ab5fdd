import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';

import { follow, type Tracking } from './follow.js';
import type { Status, Token, Tracker, TrackerOptions, TrackingError } from './model.js';
import { createTracker } from './tracker.js';

export type { Tracking } from './follow.js';
export {
  TrackingError,
  type ErrorCode,
  type Location,
  type LocationEvent,
  type Status,
  type Token,
  type Tracker,
} from './model.js';

export interface TrackingOptions {
  /** The URL of the server. Default: `process.env.REACT_APP_WS_URL` if the bundler sets it, or else the origin of the page. */
  url?: string | undefined;
  /** The Socket.IO path of the server. Default: `/socket.io/`. */
  path?: TrackerOptions['path'];
  /** Transports in the order to try. Default: a websocket, and long polling where websockets are blocked. */
  transports?: TrackerOptions['transports'];
  /** Another string after each sign-in, if people sign in while the page is open: each gets a connection of its own. */
  user?: string | undefined;
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
 * Components share a connection if they name the same server and user, and the same token or each a function. The
 * function may be another one on each render: the one that was rendered last is called.
 *
 * @param id While it or the token is empty, nothing is tracked.
 */
export function useTracking(type: string, id: string, token: Token, options?: TrackingOptions): Tracking {
  return useShared(id && token, options, NOTHING, (tracker, show) => follow(tracker, type, id, show), type, id);
}

/** The state of a connection, for a view that shows it. */
export interface Connection {
  status: Status;
  /** Why there is no connection, also while the tracker tries again; `null` while there is one or no reason is known. */
  problem: TrackingError | null;
  /** Try again after `refused`. */
  reconnect: () => void;
}

/** The connection that the components with the same server, user and token share. */
export function useConnection(token: Token, options?: TrackingOptions): Connection {
  return useShared(token, options, CONNECTING, (tracker, show) => {
    const reconnect = () => tracker.reconnect();
    const changed = () => show({ status: tracker.status, problem: tracker.problem, reconnect });
    changed();
    const removals = [tracker.onStatus(changed), tracker.onError(changed)];
    return () => {
      for (const remove of removals) remove();
    };
  });
}

/**
 * The tracker of that connection, for a component that tracks many entities and renders itself for none of their
 * positions.
 *
 * @returns `null` on the first render, and while the token is empty. It is closed when no component uses the
 *   connection any more; do not close it yourself.
 */
export function useTracker(token: Token, options?: TrackingOptions): Tracker | null {
  return useShared<Tracker | null>(token, options, null, (tracker, show) => {
    show(tracker);
    return () => undefined;
  });
}

const NOTHING: Tracking = { location: null, connected: false, error: null };
const CONNECTING: Connection = { status: 'connecting', problem: null, reconnect: () => undefined };

/**
 * A state that follows the shared tracker while the component is mounted.
 *
 * @param first The state until then, and while there is no token.
 * @param start Called when the component is mounted, with a function that shows a state; returns one that ends it.
 * @param parts What `start` depends on.
 */
function useShared<State>(
  token: Token,
  options: TrackingOptions = {},
  first: State,
  start: (tracker: Tracker, show: (state: State) => void) => () => void,
  ...parts: string[]
): State {
  const { url = serverUrl(), path, transports, user } = options;
  const [component] = useState<User>({ token });
  const key = token === '' ? '' : JSON.stringify([url, path, transports, user, typeof token === 'string' ? token : null]);
  useEffect(() => {
    component.token = token;
    const users = connections.get(key)?.users;
    if (users?.delete(component)) users.add(component);
  });
  const [subscribe, read] = useMemo(() => {
    let now = first;
    const subscribe = (changed: () => void) => {
      if (key === '') return () => undefined;
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
    return [subscribe, () => now] as const;
  }, [key, ...parts]);
  return useSyncExternalStore(subscribe, read, () => first);
}

/** A component that uses a connection, with its token as of the last time that it was rendered. */
interface User {
  token: Token;
}

interface Shared {
  readonly tracker: Tracker;
  /** Those that use it; the one that was rendered last comes last. */
  readonly users: Set<User>;
}

interface Acquired {
  readonly tracker: Tracker;
  readonly release: () => void;
}

const connections = new Map<string, Shared>();

/** The tracker that components with the same key share, and a function to release it. */
function acquire(key: string, url: string, options: TrackingOptions, component: User): Acquired {
  const shared = connections.get(key) ?? open(url, options, component);
  connections.set(key, shared);
  shared.users.add(component);
  const release = () => {
    shared.users.delete(component);
    // a component that is rendered again releases and acquires within one task
    setTimeout(() => {
      if (shared.users.size > 0 || connections.get(key) !== shared) return;
      shared.tracker.close();
      connections.delete(key);
    });
  };
  return { tracker: shared.tracker, release };
}

/** A connection, which calls the token function of the newest of its users. */
function open(url: string, { path, transports }: TrackingOptions, first: User): Shared {
  const users = new Set<User>();
  const newest = () => {
    const { token } = [...users].at(-1) ?? first;
    return typeof token === 'string' ? token : token();
  };
  const token = typeof first.token === 'string' ? first.token : newest;
  return { tracker: createTracker(url, { token, path, transports }), users };
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
