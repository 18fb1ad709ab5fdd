import type { Location, Tracker, TrackingError } from './model.js';
/** What is known of an entity, for a view that shows it. */
export interface Tracking {
    /** The newest position; `null` until one has arrived. */
    location: Location | null;
    /** Whether the server accepts the connection. The `timestamp` of `location` says how old it is. */
    connected: boolean;
    /** Why the entity is not tracked; `null` while it is, and while the connection is made again. */
    error: TrackingError | null;
}
/**
 * Track an entity, and call a function with what is known of it: once before this returns, and after each change.
 *
 * The hooks of React are made from it, and so are views in other frameworks.
 *
 * @returns A function that ends it: it removes the listeners and undoes the call of {@link Tracker.track}.
 */
export declare function follow(tracker: Tracker, type: string, id: string, changed: (now: Tracking) => void): () => void;
