import { io } from 'socket.io-client';
import { keyOf, TrackingError } from './model.js';
import { Subscriptions } from './subscriptions.js';
export { TrackingError } from './model.js';
/** Milliseconds to wait for an acknowledgement before it counts as lost. */
const ANSWER_TIMEOUT = 10_000;
/** Milliseconds before the connection is tried again after a refusal: the first, doubled each time up to the longest. */
const FIRST_RETRY = 500;
const LONGEST_RETRY = 30_000;
/** Refusals in a row, with a fresh token each, before the tracker gives up. */
const MAX_REFUSALS = 6;
/** A connection that lasted so many milliseconds resets the count of refusals. */
const LASTING = 15_000;
/** Connect a tracker to a server. */
export function createTracker(url, options) {
    return new SocketTracker(url, options);
}
class SocketTracker {
    status = 'connecting';
    #token;
    #socket;
    #subscriptions;
    #last = new Map();
    #listeners = new Map();
    #statusListeners = new Set();
    #errorListeners = new Set();
    #retry;
    #connectedAt = Infinity;
    #refusals = 0;
    constructor(url, { token, path, transports }) {
        this.#token = token;
        this.#socket = io(url, {
            forceNew: true,
            reconnectionDelay: 500,
            reconnectionDelayMax: 10_000,
            ...(path === undefined ? {} : { path }),
            ...(transports === undefined ? {} : { transports }),
            auth: (answer) => void this.#sendToken(answer),
        });
        this.#subscriptions = new Subscriptions({
            ask: (event, ids) => this.#ask(event, ids),
            unauthenticated: (error) => this.#unauthenticated(error),
            failed: (error) => this.#failed(error),
            dropped: (key) => this.#last.delete(key),
        });
        this.#socket.on('connect', () => this.#connected());
        this.#socket.on('disconnect', (reason) => this.#disconnected(reason));
        this.#socket.on('connect_error', (error) => this.#notConnected(error));
        this.#socket.on('location:update', (event) => this.#moved(event));
        this.#socket.on('tracking:revoked', ({ type, entityId }) => {
            this.#subscriptions.revoked(type, entityId);
        });
        this.#socket.on('token:expiring', () => void this.#renew());
    }
    track(type, ids) {
        if (this.status === 'closed') {
            return Promise.reject(new TrackingError('closed', 'the tracker is closed'));
        }
        return this.#subscriptions.add(type, typeof ids === 'string' ? [ids] : ids);
    }
    untrack(type, ids) {
        this.#subscriptions.remove(type, typeof ids === 'string' ? [ids] : ids);
    }
    last(type, id) {
        return this.#last.get(keyOf(type, id));
    }
    onLocation(listener, type, id) {
        const key = type === undefined || id === undefined ? undefined : keyOf(type, id);
        const listeners = this.#listeners.get(key) ?? new Set();
        this.#listeners.set(key, listeners);
        listeners.add(listener);
        return () => {
            listeners.delete(listener);
            if (listeners.size === 0 && this.#listeners.get(key) === listeners)
                this.#listeners.delete(key);
        };
    }
    onStatus(listener) {
        this.#statusListeners.add(listener);
        return () => void this.#statusListeners.delete(listener);
    }
    onError(listener) {
        this.#errorListeners.add(listener);
        return () => void this.#errorListeners.delete(listener);
    }
    reconnect() {
        if (this.status !== 'refused')
            return;
        this.#refusals = 0;
        this.#setStatus('reconnecting');
        this.#socket.connect();
    }
    close() {
        if (this.status === 'closed')
            return;
        clearTimeout(this.#retry);
        this.#socket.disconnect();
        this.#subscriptions.close();
        this.#last.clear();
        this.#setStatus('closed');
    }
    // -- connection ---------------------------------------------------------------------------
    async #sendToken(answer) {
        const token = await this.#fresh();
        if (token !== undefined) {
            answer({ token });
        }
        else if (this.status !== 'closed') {
            this.#socket.disconnect(); // without a token a connection is of no use
            this.#refused(undefined);
        }
    }
    #connected() {
        this.#connectedAt = Date.now();
        this.#setStatus('connected');
        this.#subscriptions.connected();
    }
    #disconnected(reason) {
        this.#subscriptions.disconnected();
        if (this.status === 'closed' || this.status === 'refused')
            return;
        if (reason === 'io server disconnect')
            this.#refused(undefined);
        else if (reason !== 'io client disconnect')
            this.#setStatus('reconnecting');
    }
    #notConnected(error) {
        if (this.#socket.active || this.status === 'closed')
            return; // socket.io-client tries again
        this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
    }
    /** The server accepted the connection, but not its token. */
    #unauthenticated(error) {
        if (!this.#socket.connected)
            return;
        this.#socket.disconnect();
        this.#refused(error);
    }
    /** Connect again later if the token callback can supply a fresh token. */
    #refused(error) {
        if (Date.now() - this.#connectedAt > LASTING)
            this.#refusals = 0;
        this.#connectedAt = Infinity;
        this.#refusals += 1;
        if (error !== undefined)
            this.#failed(error);
        if (typeof this.#token === 'string' || this.#refusals >= MAX_REFUSALS) {
            this.#setStatus('refused');
            this.#subscriptions.refused(error ?? new TrackingError('refused', 'the server closed the connection'));
            return;
        }
        this.#setStatus('reconnecting');
        const delay = Math.min(FIRST_RETRY * 2 ** this.#refusals, LONGEST_RETRY);
        this.#retry = setTimeout(() => this.#socket.connect(), delay * (0.5 + Math.random() / 2));
    }
    /** A fresh token; reports an error and returns `undefined` when the callback fails. */
    async #fresh() {
        if (typeof this.#token === 'string')
            return this.#token;
        try {
            return await this.#token();
        }
        catch (error) {
            this.#failed(new TrackingError('token_unavailable', String(error), undefined, { cause: error }));
            return undefined;
        }
    }
    /** Authenticate again on the open connection, with a fresh token of the callback. */
    async #renew() {
        if (typeof this.#token === 'string')
            return;
        const token = await this.#fresh();
        if (token === undefined || !this.#socket.connected)
            return;
        const answer = await this.#ask('authenticate', token).catch(() => undefined); // the connection was lost
        if (answer !== undefined && !answer.success) {
            this.#failed(new TrackingError(answer.code ?? 'refused', answer.message ?? 'refused'));
        }
    }
    async #ask(event, argument) {
        return (await this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument));
    }
    // -- listeners ------------------------------------------------------------------------------
    #moved(event) {
        const key = keyOf(event.type, event.entityId);
        if (this.#subscriptions.has(key))
            this.#last.set(key, event);
        for (const listener of this.#listeners.get(key) ?? [])
            listener(event);
        for (const listener of this.#listeners.get(undefined) ?? [])
            listener(event);
    }
    #setStatus(status) {
        if (this.status === status)
            return;
        this.status = status;
        for (const listener of this.#statusListeners)
            listener(status);
    }
    #failed(error) {
        for (const listener of this.#errorListeners)
            listener(error);
    }
}
