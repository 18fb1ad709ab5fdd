import { TrackingError, type LocationEvent, type Status } from './model.js';
/** A token, or a function that returns a fresh one. */
export type Token = string | (() => string | Promise<string>);
export interface TrackerOptions {
    /**
     * The JWT. A function is called before each connection, when the server announces that the token is
     * about to expire, and after a refusal: seldom more than once a second, and less often the more often it is
     * called. It has eight seconds. With a string, the tracker stops at a refusal. White space around a token is not sent.
     */
    token: Token;
    /** The Socket.IO path of the server. Default: `/socket.io/`. */
    path?: string;
    /** Transports in the order to try. Default: long polling, which is upgraded to a websocket. */
    transports?: ('polling' | 'websocket')[];
}
/** Tracks entities over one connection, which it makes again when it is lost. */
export interface Tracker {
    readonly status: Status;
    /** Why there is no connection, as it was reported last; `null` while there is one, or no reason is known. */
    readonly problem: TrackingError | null;
    /**
     * Track an entity, or several of one type.
     *
     * Tracking survives reconnections, and ends after as many calls of {@link untrack}. The promise resolves
     * when the server has confirmed, which without a connection is after the next one is made.
     *
     * @throws TrackingError when the server refuses an entity, which is then no longer tracked; and while the status
     *   is `refused`. The entity is then tracked after {@link reconnect}.
     */
    track(type: string, ids: string | readonly string[]): Promise<void>;
    /** Undo one call of {@link track}; harmless for entities that are not tracked. */
    untrack(type: string, ids: string | readonly string[]): void;
    /** The newest position of a tracked entity, if one has arrived. */
    last(type: string, id: string): LocationEvent | undefined;
    /** Listen to all positions, or to those of one entity; returns a function that removes the listener. */
    onLocation(listener: (event: LocationEvent) => void, type?: string, id?: string): () => void;
    /** Listen to changes of {@link status}; returns a function that removes the listener. */
    onStatus(listener: (status: Status) => void): () => void;
    /**
     * Listen to refusals that no call of {@link track} waits for, and to what prevents a connection; returns a function
     * that removes the listener. What prevents a connection is reported once, until something else does.
     */
    onError(listener: (error: TrackingError) => void): () => void;
    /** Try again after a refusal. */
    reconnect(): void;
    /** Disconnect for good. */
    close(): void;
}
/**
 * Connect a tracker to a server.
 *
 * @param url The scheme, host and port of the server.
 * @throws TrackingError with the code `wrong_path` when the URL has a path; {@link TrackerOptions.path} is for that.
 */
export declare function createTracker(url: string, options: TrackerOptions): Tracker;
