import { keyOf, TrackingError } from './model.js';

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
  /** Called when an entity is no longer tracked. */
  dropped(key: string): void;
}

interface Subscription {
  readonly type: string;
  readonly id: string;
  /** Calls of `track` minus calls of `untrack`. */
  uses: number;
  state: 'wanted' | 'requested' | 'tracked';
  waiting: { resolve: () => void; reject: (error: TrackingError) => void }[];
}

/** Most entities in one request; 500 ids of 100 characters stay below the 64 KiB of the server. */
const CHUNK = 500;

/** Milliseconds between requests for parts of what was refused together; the server accepts 50 events a second. */
const PACE = 25;

/** Milliseconds after which a request is repeated that was not answered, or came too fast. */
const REPEAT_DELAY = 1_000;

/** The entities to track, and for each whether the server has confirmed it. */
export class Subscriptions {
  readonly #wire: Wire;
  readonly #all = new Map<string, Subscription>();
  readonly #leaving = new Map<string, Set<string>>();
  #connected = false;
  #scheduled = false;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  has(key: string): boolean {
    return this.#all.has(key);
  }

  async add(type: string, ids: readonly string[]): Promise<void> {
    const confirmed = ids.map((id) => this.#addOne(type, id));
    this.#schedule();
    await Promise.all(confirmed);
  }

  #addOne(type: string, id: string): Promise<void> {
    const key = keyOf(type, id);
    let subscription = this.#all.get(key);
    if (subscription === undefined) {
      subscription = { type, id, uses: 0, state: 'wanted', waiting: [] };
      this.#all.set(key, subscription);
    }
    subscription.uses += 1;
    if (subscription.state === 'tracked') return Promise.resolve();
    const { waiting } = subscription;
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  }

  remove(type: string, ids: readonly string[]): void {
    for (const id of ids) {
      const subscription = this.#all.get(keyOf(type, id));
      if (subscription === undefined) continue;
      subscription.uses -= 1;
      if (subscription.uses > 0) continue;
      this.#drop(subscription);
      for (const { resolve } of subscription.waiting) resolve(); // it is not wanted any more
      if (subscription.state === 'wanted') continue;
      const leaving = this.#leaving.get(type) ?? new Set();
      this.#leaving.set(type, leaving.add(id));
    }
    this.#schedule();
  }

  #drop({ type, id }: Subscription): void {
    const key = keyOf(type, id);
    this.#all.delete(key);
    this.#wire.dropped(key);
  }

  /** Requests can be made: a connection is open, on which nothing is tracked yet, or has renewed its token. */
  connected(): void {
    this.#connected = true;
    this.#schedule();
  }

  /** The connection is lost; everything is requested again on the next one. */
  disconnected(): void {
    this.#connected = false;
    this.#leaving.clear();
    for (const subscription of this.#all.values()) subscription.state = 'wanted';
  }

  /** Make no new requests until {@link connected} is called: what is revoked meanwhile is requested again. */
  pause(): void {
    this.#connected = false;
  }

  /** The server no longer permits a tracked entity. */
  revoked(type: string, id: string): void {
    const subscription = this.#all.get(keyOf(type, id));
    if (subscription === undefined) return;
    if (!this.#connected) {
      subscription.state = 'wanted';
    } else if (subscription.state === 'tracked') { // else the answer to the pending request decides
      this.#drop(subscription);
      this.#wire.failed(new TrackingError('unauthorized', 'you may no longer watch this', { type, id }));
    }
  }

  /** The tracker does not reconnect by itself: reject all calls that wait. */
  refused(error: TrackingError): void {
    for (const { waiting } of this.#all.values()) {
      for (const { reject } of waiting.splice(0)) reject(error);
    }
  }

  close(): void {
    this.disconnected();
    this.refused(new TrackingError('closed', 'the tracker is closed'));
    this.#all.clear();
  }

  // -- requests -------------------------------------------------------------------------------

  /** Send requests at the end of this task, so that all calls within it share one request. */
  #schedule(): void {
    if (this.#scheduled || !this.#connected) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#connected) this.#flush();
    });
  }

  #flush(): void {
    for (const [type, ids] of this.#leaving) {
      for (const rest = [...ids]; rest.length > 0; ) {
        this.#wire.ask(`untrack:${type}`, rest.splice(0, CHUNK)).catch(() => undefined); // it ends with the connection
      }
    }
    this.#leaving.clear();
    const wanted = new Map<string, Subscription[]>();
    for (const subscription of this.#all.values()) {
      if (subscription.state !== 'wanted') continue;
      const ofType = wanted.get(subscription.type) ?? [];
      wanted.set(subscription.type, ofType);
      ofType.push(subscription);
    }
    for (const [type, ofType] of wanted) void this.#request(type, ofType);
    if (this.#all.size === 0) this.#wire.authenticated();
  }

  /**
   * Request entities of one type, one list after the other. If a list is refused, halve it until the first entity that
   * is to blame is found, and double the lists after it: one in hundreds takes some twenty requests.
   */
  async #request(type: string, requested: Subscription[]): Promise<void> {
    for (const subscription of requested) subscription.state = 'requested';
    let size = CHUNK;
    let suspect = 0; // so many of the first contain one that is refused
    for (let rest = requested; rest.length > 0; rest = rest.filter((each) => this.#isPending(each))) {
      const part = rest.slice(0, suspect > 1 ? Math.ceil(suspect / 2) : suspect || size);
      const ids = part.map(({ id }) => id);
      const answer = await this.#wire.ask(`track:${type}`, ids.length > 1 ? ids : ids.join()).catch(() => undefined);
      if (answer === undefined || (answer.code === 'rate_limited' && part.length === 1)) {
        for (const subscription of rest) if (this.#isPending(subscription)) subscription.state = 'wanted';
        setTimeout(() => this.#schedule(), REPEAT_DELAY);
        return;
      }
      if (answer.code === 'not_authenticated') {
        this.#wire.unauthenticated(refusal(answer));
        return; // everything is requested again
      }
      this.#wire.authenticated();
      const full = answer.code === 'subscription_limit';
      if (answer.success) {
        for (const subscription of part) this.#confirmed(subscription);
        if (suspect > 0) suspect -= part.length;
        else size = Math.min(size * 2, CHUNK);
      } else if (part.length > 1) {
        suspect = part.length;
      } else {
        for (const subscription of full ? rest : part) this.#rejected(subscription, refusal(answer, subscription));
        suspect = 0;
        size = 1;
      }
      if (suspect > 0 || size < CHUNK) await new Promise((resolve) => setTimeout(resolve, PACE));
    }
  }

  /** Whether a request is still pending: the subscription was neither dropped nor reset. */
  #isPending(subscription: Subscription): boolean {
    const { type, id, state } = subscription;
    return state === 'requested' && this.#all.get(keyOf(type, id)) === subscription;
  }

  #confirmed(subscription: Subscription): void {
    if (!this.#isPending(subscription)) return;
    subscription.state = 'tracked';
    for (const { resolve } of subscription.waiting.splice(0)) resolve();
  }

  #rejected(subscription: Subscription, error: TrackingError): void {
    if (!this.#isPending(subscription)) return;
    this.#drop(subscription);
    const waiting = subscription.waiting.splice(0);
    for (const { reject } of waiting) reject(error);
    if (waiting.length === 0) this.#wire.failed(error);
  }
}

/** The error that a negative acknowledgement stands for. */
export function refusal({ code = 'refused', message = 'refused' }: Answer, of?: Subscription): TrackingError {
  return new TrackingError(code, message, of && { type: of.type, id: of.id });
}
