import type { Location, TrackingError } from './model.js';
import { type Token } from './tracker.js';
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
export declare function useVehicleTracking(vehicleId: string, token: Token, options?: TrackingOptions): Tracking;
/** Follow a delivery for as long as the component is there. */
export declare function useDeliveryTracking(deliveryId: string, token: Token, options?: TrackingOptions): Tracking;
/**
 * Follow an entity of any type for as long as the component is there.
 *
 * Components with the same server and token share a connection. A token function must stay the same one
 * between renderings, as one declared outside of components does; a new one is a new connection.
 *
 * @param id Nothing is followed while it is empty.
 */
export declare function useTracking(type: string, id: string, token: Token, options?: TrackingOptions): Tracking;
