import { type Tracking } from './follow.js';
import { type Token } from './tracker.js';
export type { Tracking } from './follow.js';
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
