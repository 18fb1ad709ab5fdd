import { type Tracking } from './follow.js';
import type { Status, Token, Tracker, TrackerOptions, TrackingError } from './model.js';
export type { Tracking } from './follow.js';
export { TrackingError, type ErrorCode, type Location, type LocationEvent, type Status, type Token, type Tracker, } from './model.js';
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
export declare function useVehicleTracking(vehicleId: string, token: Token, options?: TrackingOptions): Tracking;
/** Track a delivery while the component is mounted. */
export declare function useDeliveryTracking(deliveryId: string, token: Token, options?: TrackingOptions): Tracking;
/**
 * Track an entity of any type while the component is mounted.
 *
 * Components share a connection if they name the same server and user, and the same token or each a function. The
 * function may be another one on each render: the one that was rendered last is called.
 *
 * @param id While it or the token is empty, nothing is tracked.
 */
export declare function useTracking(type: string, id: string, token: Token, options?: TrackingOptions): Tracking;
/** The state of a connection, for a view that shows it. */
export interface Connection {
    status: Status;
    /** Why there is no connection, also while the tracker tries again; `null` while there is one or no reason is known. */
    problem: TrackingError | null;
    /** Try again after `refused`. */
    reconnect: () => void;
}
/** The connection that the components with the same server, user and token share. */
export declare function useConnection(token: Token, options?: TrackingOptions): Connection;
/**
 * The tracker of that connection, for a component that tracks many entities and renders itself for none of their
 * positions.
 *
 * @returns `null` on the first render, and while the token is empty. It is closed when no component uses the
 *   connection any more; do not close it yourself.
 */
export declare function useTracker(token: Token, options?: TrackingOptions): Tracker | null;
