import { io, type Socket } from 'socket.io-client';

import { addressOf, pathProblem } from './address.js';
import { causeOf, LASTING_CAUSES, MEANING } from './diagnosis.js';
import {
  keyOf,
  TrackingError,
  type LocationEvent,
  type Status,
  type Token,
  type Tracker,
  type TrackerOptions,
} from './model.js';
import { refusal, Subscriptions, type Answer } from './subscriptions.js';

/** Milliseconds to wait for an acknowledgement before it counts as lost. */
const ANSWER_TIMEOUT = 10_000;

/**
 * Milliseconds before the connection is tried again after a refusal, and between two calls of the token callback: the
 * first, doubled each time up to the longest. Up to half of it is left out at random.
 */
const FIRST_RETRY = 500;
const LONGEST_RETRY = 30_000;

/** Milliseconds without an answer after which the tracker looks for the reason, although it waits longer for the answer. */
const LOOKS = [3_000, 4_000];

/** Milliseconds without a call of the token callback after which the next one need not wait. */
const CALM = 60_000;

/** Milliseconds that the token callback may take. */
const TOKEN_TIMEOUT = 8_000;

/** Most milliseconds that a new connection waits to call it; the server closes connections that send no token for 10 s. */
const LONGEST_HOLD = 1_000;

/** Refusals in a row, with a fresh token each, before the tracker gives up. */
const MAX_REFUSALS = 6;

/** A connection that lasted so many milliseconds resets the count of refusals. */
const LASTING = 15_000;

/**
 * Connect a tracker to a server.
 *
 * @param url The scheme, host and port of the server. With a path, for which there is {@link TrackerOptions.path}, no
 *   connection is made, and the problem of the tracker has the code `wrong_path`.
 */
export function createTracker(url: string, options: TrackerOptions): Tracker {
  const kind = typeof options?.token;
  if (typeof url !== 'string') throw new TypeError('url must be a string');
  if (kind !== 'string' && kind !== 'function') throw new TypeError('token must be a string or function');
  return new SocketTracker(url, options);
}

class SocketTracker implements Tracker {
  status: Status = 'connecting';
  problem: TrackingError | null = null;

  readonly #token: Token;
  readonly #socket: Socket;
  readonly #subscriptions: Subscriptions;
  readonly #listeners = new Map<string | undefined, Set<(event: LocationEvent) => void>>();
  readonly #statusListeners = new Set<(status: Status) => void>();
  readonly #errorListeners = new Set<(error: TrackingError) => void>();
  readonly #address: URL | undefined;
  readonly #pathProblem: TrackingError | undefined;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #connectedAt = Infinity;
  #refusals = 0;
  /** Whether there has been a connection, so that path and origin are right. */
  #proven = false;
  /** The token of this connection. */
  #sent = '';
  #attempts = 0;
  #explaining = false;
  /** The connection whose token is about to be renewed. */
  #renewing: string | undefined;
  #calledAt = -Infinity;
  #calls = 0;

  constructor(url: string, { token, path = '/socket.io/', transports = ['websocket', 'polling'] }: TrackerOptions) {
    const tried = [...transports];
    path = path.replace(/^\/?/, '/');
    this.#token = token;
    this.#address = addressOf(url, path);
    const problem = (this.#pathProblem = pathProblem(url));
    this.#socket = io(url, {
      forceNew: true,
      autoConnect: false,
      reconnectionDelay: 500,
      reconnectionDelayMax: 10_000,
      path,
      transports: tried,
      tryAllTransports: true,
      auth: (answer) => void this.#sendToken(answer),
    });
    this.#subscriptions = new Subscriptions({
      ask: (event, ids) => this.#ask(event, ids),
      unauthenticated: (error) => void this.#unauthenticated(error),
      authenticated: () => this.#authenticated(),
      failed: (error) => this.#failed(error),
    });
    this.#socket.on('connect', () => this.#connected());
    this.#socket.on('disconnect', (reason) => this.#disconnected(reason));
    this.#socket.on('connect_error', (error) => {
      if (error.message === 'timeout') tried.reverse(); // something on the way holds the first transport back
      this.#notConnected(error);
    });
    this.#socket.on('location:update', (event: LocationEvent) => this.#moved(event));
    this.#socket.on('tracking:revoked', ({ type, entityId }: { type: string; entityId: string }) => {
      this.#subscriptions.revoked(type, entityId);
    });
    this.#socket.on('token:expiring', (notice?: { expiresIn?: number }) => void this.#renew(notice?.expiresIn));
    globalThis.addEventListener?.('offline', this.#offline);
    if (problem) {
      this.status = 'refused';
      this.problem = problem;
      queueMicrotask(() => this.#failed(problem)); // when there are listeners
    } else {
      this.#connect();
    }
  }

  async track(type: string, ids: string | readonly string[]): Promise<void> {
    if (this.status === 'closed') throw new TrackingError('closed', 'the tracker is closed');
    const confirmed = this.#subscriptions.add(type, [ids].flat());
    if (this.status === 'refused' && this.problem) this.#subscriptions.refused(this.problem);
    return confirmed;
  }

  untrack(type: string, ids: string | readonly string[]): void {
    this.#subscriptions.remove(type, [ids].flat());
  }

  last(type: string, id: string): LocationEvent | undefined {
    return this.#subscriptions.find(type, id)?.last;
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
    if (this.status !== 'refused' || this.#pathProblem) return;
    this.#refusals = 0;
    this.problem = null;
    this.#setStatus('reconnecting');
    this.#connect();
  }

  close(): void {
    if (this.status === 'closed') return;
    globalThis.removeEventListener?.('offline', this.#offline);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#socket.disconnect();
    this.#subscriptions.close();
    this.#setStatus('closed');
  }

  // -- connection ---------------------------------------------------------------------------

  /** Close the connection without a network. engine.io-client does so too, but not if the server is `localhost`. */
  readonly #offline = (): void => {
    const { engine } = this.#socket.io;
    if (engine?.readyState === 'open') engine.close();
  };

  /** Connect. What is no realtime server may leave a websocket unanswered, so look early what is there. */
  #connect(): void {
    this.#socket.connect();
    for (const delay of LOOKS) {
      void this.#after(delay).then(() => {
        if (this.#socket.io.engine.readyState === 'opening') void this.#diagnose();
      });
    }
  }

  async #sendToken(answer: (auth: { token: string }) => void): Promise<void> {
    const attempt = ++this.#attempts;
    await this.#calm(LONGEST_HOLD);
    if (attempt !== this.#attempts || !this.#socket.active) return; // the connection was lost meanwhile
    const token = await this.#fresh();
    const lost = attempt !== this.#attempts || !this.#socket.active;
    if (!(token instanceof TrackingError)) {
      if (!lost) answer({ token: (this.#sent = token) });
    } else if (lost) {
      this.#failed(token);
    } else {
      this.#socket.disconnect(); // without a token a connection is of no use
      this.#refused(token, isFinal(token));
    }
  }

  #connected(): void {
    this.#connectedAt = performance.now();
    this.#proven = true;
    this.#subscriptions.connected();
  }

  /** The server accepts requests on this connection, or there are none to tell by. */
  #authenticated(): void {
    if (!this.#socket.connected) return;
    this.problem = null;
    this.#setStatus('connected');
  }

  #disconnected(reason: string): void {
    this.#subscriptions.disconnected();
    if (this.status === 'closed' || this.status === 'refused' || this.#explaining) return;
    if (reason === 'io server disconnect') this.#refused(undefined);
    else if (reason !== 'io client disconnect') this.#setStatus('reconnecting');
  }

  #notConnected(error: Error & { data?: { code?: string }; description?: unknown }): void {
    if (this.status === 'closed') return;
    if (this.#socket.active) void this.#diagnose(error, error.description); // socket.io-client tries again
    else this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
  }

  /**
   * Report why there is no connection; give up on what will not pass when it is found a second time in a row.
   *
   * @param reason Why an attempt failed. Without one it may still succeed, so what may pass is not reported.
   */
  async #diagnose(reason?: Error, status?: unknown): Promise<void> {
    const cause = await causeOf(status, this.#proven ? undefined : this.#address);
    if (this.#socket.connected || !this.#socket.active) return; // it is over
    const lasts = LASTING_CAUSES.includes(cause);
    if (!lasts && !reason) return;
    const error = new TrackingError(cause, MEANING[cause], undefined, { cause: reason });
    if (cause !== this.problem?.code) this.#prevented(error);
    else if (lasts && !this.#proven) {
      this.#socket.disconnect();
      this.#stop(error);
    }
  }

  /** The server accepted the connection, but not its token: ask why. */
  async #unauthenticated(error: TrackingError): Promise<void> {
    if (!this.#socket.connected || this.#explaining) return;
    this.#explaining = true;
    const answer = await this.#ask('authenticate', this.#sent).catch(() => undefined); // the connection was lost
    this.#explaining = false;
    if (this.status === 'closed') return;
    if (answer?.success && this.#socket.connected) {
      this.#subscriptions.disconnected(); // everything is requested again
      this.#subscriptions.connected();
      return;
    }
    this.#socket.disconnect();
    this.#refused(answer?.success === false ? refusal(answer) : error);
  }

  /** Connect again later if the token callback can supply a fresh token. */
  #refused(error: TrackingError | undefined, final = typeof this.#token === 'string'): void {
    if (performance.now() - this.#connectedAt > LASTING) this.#refusals = 0;
    this.#connectedAt = Infinity;
    this.#refusals += 1;
    if (final || this.#refusals >= MAX_REFUSALS) {
      this.#stop(error ?? new TrackingError('refused', 'the server closed the connection'));
      return;
    }
    if (error) this.#prevented(error);
    this.#setStatus('reconnecting');
    void this.#after(retryDelay(this.#refusals)).then(() => this.#connect());
  }

  /** Make no more connections until {@link reconnect} is called. */
  #stop(error: TrackingError): void {
    this.#prevented(error);
    this.#setStatus('refused');
    this.#subscriptions.refused(error);
  }

  // -- tokens -------------------------------------------------------------------------------

  /** Wait until the token callback may be called again, for at most so many milliseconds or {@link FIRST_RETRY}. */
  async #calm(most: number): Promise<void> {
    const since = performance.now() - this.#calledAt;
    if (since > CALM) this.#calls = 0;
    if (this.#calls === 0 || typeof this.#token === 'string') return;
    const apart = Math.max(Math.min(retryDelay(this.#calls), most), FIRST_RETRY);
    if (apart > since) await this.#after(apart - since);
  }

  /** A fresh token, or the error of the callback. */
  async #fresh(): Promise<string | TrackingError> {
    const token = typeof this.#token === 'string' ? this.#token : await this.#called(this.#token);
    return typeof token === 'string' ? token.trim() : token; // a response or a file may end with a newline
  }

  async #called(callback: Exclude<Token, string>): Promise<string | TrackingError> {
    this.#calledAt = performance.now();
    this.#calls += 1;
    try {
      const called = (async () => callback())(); // it may throw before it returns a promise
      const late = this.#after(TOKEN_TIMEOUT, called).then(() => {
        throw new Error('the token took too long');
      });
      const token: unknown = await Promise.race([called, late]);
      if (typeof token === 'string' && /\S/.test(token)) return token;
      throw new TypeError('the function returned no token');
    } catch (error) {
      if (error instanceof TrackingError) return error;
      return new TrackingError('token_unavailable', String(error), undefined, { cause: error });
    }
  }

  /**
   * Authenticate again on the open connection, with a fresh token, before the present one expires.
   *
   * @param expiresIn Seconds.
   * @param known The code of the error that was reported last.
   */
  async #renew(expiresIn = 0, known?: string): Promise<void> {
    const { id } = this.#socket;
    if (typeof this.#token === 'string' || !id || this.#renewing === id) return;
    this.#renewing = id;
    const notified = performance.now();
    await this.#calm((expiresIn * 1_000) / 2);
    if (this.#renewing === id) this.#renewing = undefined;
    if (this.#socket.id !== id) return;
    const token = await this.#fresh();
    if (token instanceof TrackingError) {
      if (token.code !== known) this.#failed(token);
      const left = expiresIn - (performance.now() - notified) / 1_000;
      if (left > 0 && !isFinal(token)) void this.#renew(left, token.code);
    } else if (this.#socket.id === id) {
      this.#sent = token;
      this.#subscriptions.pause(); // it may be another user's: the server then revokes everything
      const answer = await this.#ask('authenticate', token).catch(() => undefined); // the connection was lost
      if (this.#socket.id === id) this.#subscriptions.connected();
      if (answer?.success === false) this.#failed(refusal(answer));
    }
  }

  #ask(event: string, argument: string | string[]): Promise<Answer> {
    return this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument);
  }

  /** Resolves after so many milliseconds, or once a promise is settled, unless the tracker is closed before. */
  #after(delay: number, settled?: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#timers.delete(timer);
        resolve();
      };
      const timer = setTimeout(end, delay);
      this.#timers.add(timer);
      settled?.then(end, end);
    });
  }

  // -- listeners ------------------------------------------------------------------------------

  #moved(event: LocationEvent): void {
    const { type, entityId } = event;
    const subscription = this.#subscriptions.find(type, entityId);
    if (subscription) subscription.last = event;
    tell(this.#listeners.get(keyOf(type, entityId)), event);
    tell(this.#listeners.get(undefined), event);
  }

  #setStatus(status: Status): void {
    if (this.status === status) return;
    this.status = status;
    tell(this.#statusListeners, status);
  }

  /** Report what prevents a connection, unless that is known. */
  #prevented(error: TrackingError): void {
    const known = this.problem?.code;
    this.problem = error;
    if (known !== error.code) this.#failed(error);
  }

  #failed(error: TrackingError): void {
    tell(this.#errorListeners, error);
  }
}

/** Call listeners. What one of them throws becomes an uncaught error, and the others are called all the same. */
function tell<T>(listeners: Iterable<(value: T) => void> = [], value: T): void {
  for (const listener of listeners) {
    try {
      listener(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Whether the token callback said that there will be no token. */
function isFinal(error: TrackingError): boolean {
  return error.code !== 'token_unavailable';
}

/** Milliseconds to wait after so many attempts in a row. */
function retryDelay(attempts: number): number {
  return Math.min(FIRST_RETRY * 2 ** attempts, LONGEST_RETRY) * (0.5 + Math.random() / 2);
}
