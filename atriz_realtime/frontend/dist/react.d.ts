import type { Location, TrackingError } from './model.js';
import { type Token } from './tracker.js';
export interface TrackingOptions {
    /** The URL of the server. Default: `process.env.REACT_APP_WS_URL` if the bundler sets it, or else the origin of the page. */
    url?: string;
    /** The Socket.IO path of the server. */
    path?: string;
}
export interface Tracking {
    /** The newest position; `null` until one has arrived. */
    location: Location | null;
    /** Whether the connection is open. */
    connected: boolean;
    /** Why the entity is not tracked; `null` while it is, and while the connection is made again. */
    error: TrackingError | null;
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
