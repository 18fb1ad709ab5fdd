import { io, type Socket } from 'socket.io-client';

import { keyOf, TrackingError, type LocationEvent, type Status } from './model.js';
import { Subscriptions, type Answer } from './subscriptions.js';

export { TrackingError, type Location, type LocationEvent, type Status } from './model.js';

/** A token, or a function that returns a fresh one. */
export type Token = string | (() => string | Promise<string>);

export interface TrackerOptions {
  /**
   * The JWT. A function is called before each connection, when the server announces that the token is
   * about to expire, and after a refusal. With a string, the tracker stops at a refusal.
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
  /**
   * Track an entity, or several of one type.
   *
   * Tracking survives reconnections, and ends after as many calls of {@link untrack}. The promise resolves
   * when the server has confirmed, which without a connection is after the next one is made.
   *
   * @throws TrackingError when the server refuses an entity, which is then no longer tracked.
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
  /** Listen to refusals that no call of {@link track} waits for; returns a function that removes the listener. */
  onError(listener: (error: TrackingError) => void): () => void;
  /** Try again after a refusal. */
  reconnect(): void;
  /** Disconnect for good. */
  close(): void;
}

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
export function createTracker(url: string, options: TrackerOptions): Tracker {
  return new SocketTracker(url, options);
}

class SocketTracker implements Tracker {
  status: Status = 'connecting';

  readonly #token: Token;
  readonly #socket: Socket;
  readonly #subscriptions: Subscriptions;
  readonly #last = new Map<string, LocationEvent>();
  readonly #listeners = new Map<string | undefined, Set<(event: LocationEvent) => void>>();
  readonly #statusListeners = new Set<(status: Status) => void>();
  readonly #errorListeners = new Set<(error: TrackingError) => void>();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #connectedAt = Infinity;
  #refusals = 0;

  constructor(url: string, { token, path, transports }: TrackerOptions) {
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
    this.#socket.on('location:update', (event: LocationEvent) => this.#moved(event));
    this.#socket.on('tracking:revoked', ({ type, entityId }: { type: string; entityId: string }) => {
      this.#subscriptions.revoked(type, entityId);
    });
    this.#socket.on('token:expiring', () => void this.#renew());
  }

  track(type: string, ids: string | readonly string[]): Promise<void> {
    if (this.status === 'closed') {
      return Promise.reject(new TrackingError('closed', 'the tracker is closed'));
    }
    return this.#subscriptions.add(type, typeof ids === 'string' ? [ids] : ids);
  }

  untrack(type: string, ids: string | readonly string[]): void {
    this.#subscriptions.remove(type, typeof ids === 'string' ? [ids] : ids);
  }

  last(type: string, id: string): LocationEvent | undefined {
    return this.#last.get(keyOf(type, id));
  }

  onLocation(listener: (event: LocationEvent) => void, type?: string, id?: string): () => void {
    const key = type === undefined || id === undefined ? undefined : keyOf(type, id);
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
    };
  }

  onStatus(listener: (status: Status) => void): () => void {
    this.#statusListeners.add(listener);
    return () => void this.#statusListeners.delete(listener);
  }

  onError(listener: (error: TrackingError) => void): () => void {
    this.#errorListeners.add(listener);
    return () => void this.#errorListeners.delete(listener);
  }

  reconnect(): void {
    if (this.status !== 'refused') return;
    this.#refusals = 0;
    this.#setStatus('reconnecting');
    this.#socket.connect();
  }

  close(): void {
    if (this.status === 'closed') return;
    clearTimeout(this.#retry);
    this.#socket.disconnect();
    this.#subscriptions.close();
    this.#last.clear();
    this.#setStatus('closed');
  }

  // -- connection ---------------------------------------------------------------------------

  async #sendToken(answer: (auth: { token?: string }) => void): Promise<void> {
    const token = await this.#fresh();
    if (token !== undefined) {
      answer({ token });
    } else if (this.status !== 'closed') {
      this.#socket.disconnect(); // without a token a connection is of no use
      this.#refused(undefined);
    }
  }

  #connected(): void {
    this.#connectedAt = Date.now();
    this.#setStatus('connected');
    this.#subscriptions.connected();
  }

  #disconnected(reason: string): void {
    this.#subscriptions.disconnected();
    if (this.status === 'closed' || this.status === 'refused') return;
    if (reason === 'io server disconnect') this.#refused(undefined);
    else if (reason !== 'io client disconnect') this.#setStatus('reconnecting');
  }

  #notConnected(error: Error & { data?: { code?: string } }): void {
    if (this.#socket.active || this.status === 'closed') return; // socket.io-client tries again
    this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
  }

  /** The server accepted the connection, but not its token. */
  #unauthenticated(error: TrackingError): void {
    if (!this.#socket.connected) return;
    this.#socket.disconnect();
    this.#refused(error);
  }

  /** Connect again later if the token callback can supply a fresh token. */
  #refused(error: TrackingError | undefined): void {
    if (Date.now() - this.#connectedAt > LASTING) this.#refusals = 0;
    this.#connectedAt = Infinity;
    this.#refusals += 1;
    if (error !== undefined) this.#failed(error);
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
  async #fresh(): Promise<string | undefined> {
    if (typeof this.#token === 'string') return this.#token;
    try {
      return await this.#token();
    } catch (error) {
      this.#failed(new TrackingError('token_unavailable', String(error), undefined, { cause: error }));
      return undefined;
    }
  }

  /** Authenticate again on the open connection, with a fresh token of the callback. */
  async #renew(): Promise<void> {
    if (typeof this.#token === 'string') return;
    const token = await this.#fresh();
    if (token === undefined || !this.#socket.connected) return;
    const answer = await this.#ask('authenticate', token).catch(() => undefined); // the connection was lost
    if (answer !== undefined && !answer.success) {
      this.#failed(new TrackingError(answer.code ?? 'refused', answer.message ?? 'refused'));
    }
  }

  async #ask(event: string, argument: string | string[]): Promise<Answer> {
    return (await this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument)) as Answer;
  }

  // -- listeners ------------------------------------------------------------------------------

  #moved(event: LocationEvent): void {
    const key = keyOf(event.type, event.entityId);
    if (this.#subscriptions.has(key)) this.#last.set(key, event);
    for (const listener of this.#listeners.get(key) ?? []) listener(event);
    for (const listener of this.#listeners.get(undefined) ?? []) listener(event);
  }

  #setStatus(status: Status): void {
    if (this.status === status) return;
    this.status = status;
    for (const listener of this.#statusListeners) listener(status);
  }

  #failed(error: TrackingError): void {
    for (const listener of this.#errorListeners) listener(error);
  }
}
