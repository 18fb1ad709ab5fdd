import { TrackingError, type LocationEvent, type Status } from './model.js';
export { TrackingError, type Location, type LocationEvent, type Status } from './model.js';
/** A token, or what to call whenever a fresh one is needed. */
export type Token = string | (() => string | Promise<string>);
export interface TrackerOptions {
    /**
     * The JWT. A function is called before each connection, when the server says that the token is about
     * to expire, and when it was refused; with a string, a refusal is the end.
     */
    token: Token;
    /** The path of the server's Socket.IO; `/socket.io/` unless given. */
    path?: string;
    /** Transports in the order to try; polling that is upgraded to a websocket unless given. */
    transports?: ('polling' | 'websocket')[];
}
/** Follows entities over one connection, which comes back by itself. */
export interface Tracker {
    readonly status: Status;
    /**
     * Follow an entity, or several of a type.
     *
     * It goes on over reconnections until as many calls of {@link untrack}. Resolves when the server has
     * agreed, which is after the next connection when there is none.
     *
     * @throws TrackingError when the server refuses; what was refused is no longer followed.
     */
    track(type: string, ids: string | readonly string[]): Promise<void>;
    /** Follow no longer; harmless when it is not followed. */
    untrack(type: string, ids: string | readonly string[]): void;
    /** The newest position of an entity that is followed, if one has come. */
    last(type: string, id: string): LocationEvent | undefined;
    /** Hear of every position, or of one entity's; returns what ends it. */
    onLocation(listener: (event: LocationEvent) => void, type?: string, id?: string): () => void;
    /** Hear of every change of {@link status}; returns what ends it. */
    onStatus(listener: (status: Status) => void): () => void;
    /** Hear of refusals that no call of {@link track} is waiting for; returns what ends it. */
    onError(listener: (error: TrackingError) => void): () => void;
    /** Try again after a refusal. */
    reconnect(): void;
    /** Leave, for good. */
    close(): void;
}
/** Begin to follow entities on a server. */
export declare function createTracker(url: string, options: TrackerOptions): Tracker;
