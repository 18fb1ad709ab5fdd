import { TrackingError } from './model.js';
/** The server's acknowledgement. */
export interface Answer {
    success: boolean;
    code?: string;
    message?: string;
}
/** What subscriptions need of a connection. */
export interface Wire {
    /** Emit and await the answer; rejects when it does not come. */
    ask(event: string, ids: string | string[]): Promise<Answer>;
    /** The server does not know who this is. */
    unauthenticated(error: TrackingError): void;
    /** A refusal that nobody waits for. */
    failed(error: TrackingError): void;
    /** An entity is no longer followed. */
    dropped(key: string): void;
}
/** What is to be followed, and how far the server has agreed. */
export declare class Subscriptions {
    #private;
    constructor(wire: Wire);
    has(key: string): boolean;
    add(type: string, ids: readonly string[]): Promise<void>;
    remove(type: string, ids: readonly string[]): void;
    /** There is a connection, on which nothing is followed yet. */
    connected(): void;
    /** There is none; everything is to be asked for again on the next. */
    disconnected(): void;
    /** The server has ended what it agreed to. */
    revoked(type: string, id: string): void;
    /** There will be none, unless the application wants it: nobody waits on. */
    refused(error: TrackingError): void;
    close(): void;
}
