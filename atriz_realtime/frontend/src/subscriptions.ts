import { keyOf, TrackingError, type LocationEvent } from './model.js';

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
  waiting: { resolve: () => void; reject: (error: TrackingError) => void }[];
  /** The newest position. */
  last?: LocationEvent;
}

/** The error code of the server for an entity that is one too many. */
const LIMIT = 'subscription_limit';

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

  find(type: string, id: string): Subscription | undefined {
    return this.#all.get(keyOf(type, id));
  }

  async add(type: string, ids: readonly string[]): Promise<void> {
    const confirmed = ids.map((id) => this.#addOne(type, id));
    this.#schedule();
    await Promise.all(confirmed);
  }

  #addOne(type: string, id: string): Promise<void> {
    let subscription = this.find(type, id);
    if (!subscription) {
      subscription = { type, id, uses: 0, state: 'wanted', waiting: [] };
      this.#all.set(keyOf(type, id), subscription);
    }
    subscription.uses += 1;
    subscription.refused = false;
    if (subscription.state === 'tracked') return Promise.resolve();
    const { waiting } = subscription;
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  }

  remove(type: string, ids: readonly string[]): void {
    for (const id of ids) {
      const subscription = this.find(type, id);
      if (!subscription || --subscription.uses > 0) continue;
      for (const { resolve } of subscription.waiting) resolve(); // it is not wanted any more
      if (subscription.state !== 'wanted') {
        const leaving = this.#leaving.get(type) ?? new Set();
        this.#leaving.set(type, leaving.add(id));
      }
      this.#drop(subscription);
    }
    this.#schedule();
  }

  /** Forget an entity; a pending request no longer decides, and the first one without a place gets its place. */
  #drop(subscription: Subscription): void {
    subscription.state = 'wanted';
    this.#all.delete(keyOf(subscription.type, subscription.id));
    const next = !subscription.refused && [...this.#all.values()].find(({ refused }) => refused);
    if (!next) return;
    next.refused = false;
    this.#schedule();
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
    const subscription = this.find(type, id);
    if (!subscription) return;
    if (!this.#connected) {
      subscription.state = 'wanted';
    } else if (subscription.state === 'tracked') { // else the answer to the pending request decides
      this.#drop(subscription);
      this.#wire.failed(new TrackingError('unauthorized', 'no longer permitted', { type, id }));
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
    const wanted = [...this.#all.values()].filter(({ state, refused }) => state === 'wanted' && !refused);
    for (const type of new Set(wanted.map((each) => each.type))) {
      void this.#request(type, wanted.filter((each) => each.type === type));
    }
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
    for (let rest = requested; rest.length > 0; rest = rest.filter(isPending)) {
      const part = rest.slice(0, suspect > 1 ? Math.ceil(suspect / 2) : suspect || size);
      const ids = part.map(({ id }) => id);
      const answer = await this.#wire.ask(`track:${type}`, ids.length > 1 ? ids : ids.join()).catch(() => undefined);
      if (!answer || (answer.code === 'rate_limited' && part.length === 1)) {
        for (const subscription of rest.filter(isPending)) subscription.state = 'wanted';
        setTimeout(() => this.#schedule(), REPEAT_DELAY);
        return;
      }
      if (answer.code === 'not_authenticated') {
        this.#wire.unauthenticated(refusal(answer));
        return; // everything is requested again
      }
      this.#wire.authenticated();
      if (answer.success) {
        for (const subscription of part.filter(isPending)) {
          subscription.state = 'tracked';
          for (const { resolve } of subscription.waiting.splice(0)) resolve();
        }
        if (suspect > 0) suspect -= part.length;
        else size = Math.min(size * 2, CHUNK);
      } else if (part.length > 1) {
        suspect = part.length;
      } else {
        const rejected = answer.code === LIMIT ? rest : part;
        for (const each of rejected.filter(isPending)) this.#rejected(each, refusal(answer, each));
        suspect = 0;
        size = 1;
      }
      if (suspect > 0 || size < CHUNK) await new Promise((resolve) => setTimeout(resolve, PACE));
    }
  }

  #rejected(subscription: Subscription, error: TrackingError): void {
    if (error.code === LIMIT) {
      subscription.state = 'wanted';
      subscription.refused = true;
    } else {
      this.#drop(subscription);
    }
    const waiting = subscription.waiting.splice(0);
    for (const { reject } of waiting) reject(error);
    if (waiting.length === 0) this.#wire.failed(error);
  }
}

/** Whether a request is still pending: the subscription was neither dropped nor reset. */
function isPending({ state }: Subscription): boolean {
  return state === 'requested';
}

/** The error that a negative acknowledgement stands for. */
export function refusal({ code = 'refused', message = 'refused' }: Answer, of?: Subscription): TrackingError {
  return new TrackingError(code, message, of && { type: of.type, id: of.id });
}
