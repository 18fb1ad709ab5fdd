import { TrackingError, type LocationEvent } from './model.js';
/** The acknowledgement of the server. */
export interface Answer {
    success: boolean;
    code?: string;
    message?: string;
}
/** The connection that subscriptions use. */
export interface Wire {
    /** Emit an event and return its acknowledgement; rejects when none arrives. */
    ask(event: string, ids: string | string[]): Promise<Answer>;
    /** Called when the server has answered a request of an authenticated connection, or when there is none to make. */
    authenticated(): void;
    /** Called when the server has not authenticated the connection. */
    unauthenticated(error: TrackingError): void;
    /** Called for a refusal that no call of `track` waits for. */
    failed(error: TrackingError): void;
}
export interface Subscription {
    readonly type: string;
    readonly id: string;
    /** Calls of `track` minus calls of `untrack`. */
    uses: number;
    state: 'wanted' | 'requested' | 'tracked';
    /** Whether the server's limit refused it: it is requested when another one leaves room for it. */
    refused?: boolean;
    waiting: {
        resolve: () => void;
        reject: (error: TrackingError) => void;
    }[];
    /** The newest position. */
    last?: LocationEvent;
}
/** The entities to track, and for each whether the server has confirmed it. */
export declare class Subscriptions {
    #private;
    constructor(wire: Wire);
    find(type: string, id: string): Subscription | undefined;
    add(type: string, ids: readonly string[]): Promise<void>;
    remove(type: string, ids: readonly string[]): void;
    /** Requests can be made: a connection is open, on which nothing is tracked yet, or has renewed its token. */
    connected(): void;
    /** The connection is lost; everything is requested again on the next one. */
    disconnected(): void;
    /** Make no new requests until {@link connected} is called: what is revoked meanwhile is requested again. */
    pause(): void;
    /** The server no longer permits a tracked entity. */
    revoked(type: string, id: string): void;
    /** The tracker does not reconnect by itself: reject all calls that wait. */
    refused(error: TrackingError): void;
    close(): void;
}
/** The error that a negative acknowledgement stands for. */
export declare function refusal({ code, message }: Answer, of?: Subscription): TrackingError;
