/** A reported position; fields that were not reported are absent. */
export interface Location {
    deviceId: string;
    userId: string;
    /** Degrees north, WGS 84. */
    latitude: number;
    /** Degrees east, WGS 84. */
    longitude: number;
    /** ISO 8601 in UTC, with milliseconds. */
    timestamp: string;
    /** km/h. */
    speed?: number;
    /** Degrees clockwise from north. */
    heading?: number;
    /** Metres. */
    accuracy?: number;
    /** Metres. */
    altitude?: number;
    metadata?: Record<string, unknown>;
}
/** The position of an entity. */
export interface LocationEvent {
    /** The entity type, such as `vehicle`. */
    type: string;
    entityId: string;
    location: Location;
}
/**
 * The state of the connection to the server.
 *
 * - `connecting`: the first connection is being made;
 * - `connected`: there is a connection, and the server accepts its token;
 * - `reconnecting`: the connection was lost, and the tracker makes a new one by itself;
 * - `refused`: the tracker does not try again by itself; `problem` says why, and {@link Tracker.reconnect} tries again;
 * - `closed`: {@link Tracker.close} was called.
 */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'refused' | 'closed';
/** The error codes of the server that a client can meet. */
type ServerCode = 'bad_request' | 'internal' | 'invalid_entity_id' | 'invalid_token' | 'not_authenticated' | 'plugin_failed' | 'rate_limited' | 'subscription_limit' | 'unauthorized' | 'unavailable' | 'unknown_type';
/** The error codes of the client. */
type ClientCode = 'closed' | 'origin_refused' | 'refused' | 'token_unavailable' | 'unavailable' | 'unreachable' | 'unreadable' | 'wrong_path';
/** An error code; plugins and later servers may have others. */
export type ErrorCode = ServerCode | ClientCode | (string & {});
/** The server refused something or was not reached, or the token callback failed. */
export declare class TrackingError extends Error {
    /** The error code of the server, or one of the client. */
    readonly code: ErrorCode;
    /** The entity that was refused, if it was one. */
    readonly entity?: {
        type: string;
        id: string;
    } | undefined;
    readonly name = "TrackingError";
    constructor(
    /** The error code of the server, or one of the client. */
    code: ErrorCode, message: string, 
    /** The entity that was refused, if it was one. */
    entity?: {
        type: string;
        id: string;
    } | undefined, options?: ErrorOptions);
}
/** A token, or a function that returns a fresh one. */
export type Token = string | (() => string | Promise<string>);
export interface TrackerOptions {
    /**
     * The JWT. A function is called before each connection, when the server announces that the token is
     * about to expire, and after a refusal: seldom more than once a second, and less often the more often it is
     * called. It has eight seconds. With a string, the tracker stops at a refusal. White space around a token is not sent.
     *
     * If there will be no token, because nobody is signed in, for example, the function throws a {@link TrackingError}
     * with any code but `token_unavailable`: the tracker then does not try again by itself.
     */
    token: Token;
    /** The Socket.IO path of the server. Default: `/socket.io/`. */
    path?: string | undefined;
    /** Transports in the order to try. Default: a websocket, and long polling where websockets are blocked. */
    transports?: ('polling' | 'websocket')[] | undefined;
}
/**
 * Tracks entities over one connection, which it makes again when it is lost.
 *
 * An error that a listener throws becomes an uncaught error of the page or the process, and stops nothing else.
 */
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
     *   is `refused`. The entity is then tracked after {@link reconnect}. With the code `subscription_limit`, it is
     *   tracked as soon as another one leaves room for it, unless {@link untrack} is called before.
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
    /** Try again after a refusal; does nothing in any other status. */
    reconnect(): void;
    /** Disconnect for good. */
    close(): void;
}
/** The key of an entity in maps; it is unique, since types have no colon. */
export declare function keyOf(type: string, id: string): string;
export {};
