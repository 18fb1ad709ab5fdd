import { io } from 'socket.io-client';
import { keyOf, TrackingError } from './model.js';
import { Subscriptions } from './subscriptions.js';
export { TrackingError } from './model.js';
/** Milliseconds to wait for an answer before it counts as lost with its connection. */
const ANSWER_TIMEOUT = 10_000;
/** Milliseconds until a refused token is tried anew, doubled each time up to the greatest. */
const FIRST_RETRY = 500;
const GREATEST_RETRY = 30_000;
/** Refusals in a row, with a fresh token each, before the tracker gives up. */
const MAX_REFUSALS = 6;
/** Milliseconds that a connection must last for the refusals before it to be forgotten. */
const LASTING = 15_000;
/** Begin to follow entities on a server. */
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
            auth: (answer) => void this.#offer(answer),
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
        this.#become('reconnecting');
        this.#socket.connect();
    }
    close() {
        if (this.status === 'closed')
            return;
        clearTimeout(this.#retry);
        this.#socket.disconnect();
        this.#subscriptions.close();
        this.#last.clear();
        this.#become('closed');
    }
    // -- connection ---------------------------------------------------------------------------
    async #offer(answer) {
        const token = await this.#fresh();
        if (token !== undefined) {
            answer({ token });
        }
        else if (this.status !== 'closed') {
            this.#socket.disconnect(); // without a token there is nothing to connect for
            this.#refused(undefined);
        }
    }
    #connected() {
        this.#connectedAt = Date.now();
        this.#become('connected');
        this.#subscriptions.connected();
    }
    #disconnected(reason) {
        this.#subscriptions.disconnected();
        if (this.status === 'closed' || this.status === 'refused')
            return;
        if (reason === 'io server disconnect')
            this.#refused(undefined);
        else if (reason !== 'io client disconnect')
            this.#become('reconnecting');
    }
    #notConnected(error) {
        if (this.#socket.active || this.status === 'closed')
            return; // the library tries again
        this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
    }
    /** The connection was let in, but not its token. */
    #unauthenticated(error) {
        if (!this.#socket.connected)
            return;
        this.#socket.disconnect();
        this.#refused(error);
    }
    /** Come back later with a fresh token, when there can be one. */
    #refused(error) {
        if (Date.now() - this.#connectedAt > LASTING)
            this.#refusals = 0;
        this.#connectedAt = Infinity;
        this.#refusals += 1;
        if (error !== undefined)
            this.#failed(error);
        if (typeof this.#token === 'string' || this.#refusals >= MAX_REFUSALS) {
            this.#become('refused');
            this.#subscriptions.refused(error ?? new TrackingError('refused', 'the server closed the connection'));
            return;
        }
        this.#become('reconnecting');
        const longest = Math.min(FIRST_RETRY * 2 ** this.#refusals, GREATEST_RETRY);
        this.#retry = setTimeout(() => this.#socket.connect(), longest * (0.5 + Math.random() / 2));
    }
    /** A token; `undefined`, and an error told, when the callback has none. */
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
    /** Authenticate again on the open connection, when there can be a fresher token. */
    async #renew() {
        if (typeof this.#token === 'string')
            return;
        const token = await this.#fresh();
        if (token === undefined || !this.#socket.connected)
            return;
        const answer = await this.#ask('authenticate', token).catch(() => undefined); // lost with its connection
        if (answer !== undefined && !answer.success) {
            this.#failed(new TrackingError(answer.code ?? 'refused', answer.message ?? 'refused'));
        }
    }
    async #ask(event, argument) {
        return (await this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument));
    }
    // -- what listeners hear --------------------------------------------------------------------
    #moved(event) {
        const key = keyOf(event.type, event.entityId);
        if (this.#subscriptions.has(key))
            this.#last.set(key, event);
        for (const listener of this.#listeners.get(key) ?? [])
            listener(event);
        for (const listener of this.#listeners.get(undefined) ?? [])
            listener(event);
    }
    #become(status) {
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
