import { type Tracking } from './follow.js';
import type { Status, TrackingError } from './model.js';
import { type Token } from './tracker.js';
export type { Tracking } from './follow.js';
export type { Status, TrackingError } from './model.js';
export interface TrackingOptions {
    /** The URL of the server. Default: `process.env.REACT_APP_WS_URL` if the bundler sets it, or else the origin of the page. */
    url?: string;
    /** The Socket.IO path of the server. */
    path?: string;
}
/** Track a vehicle while the component is mounted. */
export declare function useVehicleTracking(vehicleId: string, token: Token, options?: TrackingOptions): Tracking;
/** Track a delivery while the component is mounted. */
export declare function useDeliveryTracking(deliveryId: string, token: Token, options?: TrackingOptions): Tracking;
/**
 * Track an entity of any type while the component is mounted.
 *
 * Components with the same server and token share a connection. A token function must keep its identity
 * between renders, as one that is declared outside of components does; a new function opens a new connection.
 *
 * @param id While it is empty, nothing is tracked.
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
/** The connection that the components with the same server and token share. */
export declare function useConnection(token: Token, options?: TrackingOptions): Connection;
