import { io, type Socket } from 'socket.io-client';

import { keyOf, TrackingError, type LocationEvent, type Status } from './model.js';
import { Subscriptions, type Answer } from './subscriptions.js';

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
    this.#become('reconnecting');
    this.#socket.connect();
  }

  close(): void {
    if (this.status === 'closed') return;
    clearTimeout(this.#retry);
    this.#socket.disconnect();
    this.#subscriptions.close();
    this.#last.clear();
    this.#become('closed');
  }

  // -- connection ---------------------------------------------------------------------------

  async #offer(answer: (auth: { token?: string }) => void): Promise<void> {
    const token = await this.#fresh();
    if (token !== undefined) {
      answer({ token });
    } else if (this.status !== 'closed') {
      this.#socket.disconnect(); // without a token there is nothing to connect for
      this.#refused(undefined);
    }
  }

  #connected(): void {
    this.#connectedAt = Date.now();
    this.#become('connected');
    this.#subscriptions.connected();
  }

  #disconnected(reason: string): void {
    this.#subscriptions.disconnected();
    if (this.status === 'closed' || this.status === 'refused') return;
    if (reason === 'io server disconnect') this.#refused(undefined);
    else if (reason !== 'io client disconnect') this.#become('reconnecting');
  }

  #notConnected(error: Error & { data?: { code?: string } }): void {
    if (this.#socket.active || this.status === 'closed') return; // the library tries again
    this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
  }

  /** The connection was let in, but not its token. */
  #unauthenticated(error: TrackingError): void {
    if (!this.#socket.connected) return;
    this.#socket.disconnect();
    this.#refused(error);
  }

  /** Come back later with a fresh token, when there can be one. */
  #refused(error: TrackingError | undefined): void {
    if (Date.now() - this.#connectedAt > LASTING) this.#refusals = 0;
    this.#connectedAt = Infinity;
    this.#refusals += 1;
    if (error !== undefined) this.#failed(error);
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
  async #fresh(): Promise<string | undefined> {
    if (typeof this.#token === 'string') return this.#token;
    try {
      return await this.#token();
    } catch (error) {
      this.#failed(new TrackingError('token_unavailable', String(error), undefined, { cause: error }));
      return undefined;
    }
  }

  /** Authenticate again on the open connection, when there can be a fresher token. */
  async #renew(): Promise<void> {
    if (typeof this.#token === 'string') return;
    const token = await this.#fresh();
    if (token === undefined || !this.#socket.connected) return;
    const answer = await this.#ask('authenticate', token).catch(() => undefined); // lost with its connection
    if (answer !== undefined && !answer.success) {
      this.#failed(new TrackingError(answer.code ?? 'refused', answer.message ?? 'refused'));
    }
  }

  async #ask(event: string, argument: string | string[]): Promise<Answer> {
    return (await this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument)) as Answer;
  }

  // -- what listeners hear --------------------------------------------------------------------

  #moved(event: LocationEvent): void {
    const key = keyOf(event.type, event.entityId);
    if (this.#subscriptions.has(key)) this.#last.set(key, event);
    for (const listener of this.#listeners.get(key) ?? []) listener(event);
    for (const listener of this.#listeners.get(undefined) ?? []) listener(event);
  }

  #become(status: Status): void {
    if (this.status === status) return;
    this.status = status;
    for (const listener of this.#statusListeners) listener(status);
  }

  #failed(error: TrackingError): void {
    for (const listener of this.#errorListeners) listener(error);
  }
}
