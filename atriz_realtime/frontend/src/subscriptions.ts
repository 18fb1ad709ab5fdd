import { keyOf, TrackingError } from './model.js';

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

interface Subscription {
  readonly type: string;
  readonly id: string;
  /** Calls of `track` that no `untrack` has taken back. */
  uses: number;
  state: 'wanted' | 'asked' | 'followed';
  waiting: { resolve: () => void; reject: (error: TrackingError) => void }[];
}

/** Entities in one request; 500 ids of 100 characters are under the server's 64 KiB. */
const CHUNK = 500;

/** Milliseconds between requests for one entity each, below the 50 events a second that a server takes. */
const PACE = 25;

/** Milliseconds until what was not answered is asked for again. */
const ASK_AGAIN = 1_000;

/** What is to be followed, and how far the server has agreed. */
export class Subscriptions {
  readonly #wire: Wire;
  readonly #all = new Map<string, Subscription>();
  readonly #leaving = new Map<string, Set<string>>();
  #connected = false;
  #scheduled = false;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  has(key: string): boolean {
    return this.#all.has(key);
  }

  async add(type: string, ids: readonly string[]): Promise<void> {
    const agreed = ids.map((id) => this.#addOne(type, id));
    this.#schedule();
    await Promise.all(agreed);
  }

  #addOne(type: string, id: string): Promise<void> {
    const key = keyOf(type, id);
    let subscription = this.#all.get(key);
    if (subscription === undefined) {
      subscription = { type, id, uses: 0, state: 'wanted', waiting: [] };
      this.#all.set(key, subscription);
    }
    subscription.uses += 1;
    if (subscription.state === 'followed') return Promise.resolve();
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
      for (const { resolve } of subscription.waiting) resolve(); // nobody wants it any more
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

  /** There is a connection, on which nothing is followed yet. */
  connected(): void {
    this.#connected = true;
    this.#schedule();
  }

  /** There is none; everything is to be asked for again on the next. */
  disconnected(): void {
    this.#connected = false;
    clearTimeout(this.#again);
    this.#leaving.clear();
    for (const subscription of this.#all.values()) subscription.state = 'wanted';
  }

  /** The server has ended what it agreed to. */
  revoked(type: string, id: string): void {
    const subscription = this.#all.get(keyOf(type, id));
    if (subscription?.state !== 'followed') return; // the answer to what is asked now counts
    this.#drop(subscription);
    this.#wire.failed(new TrackingError('unauthorized', 'you may no longer watch this', { type, id }));
  }

  /** There will be none, unless the application wants it: nobody waits on. */
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

  // -- talking to the server ------------------------------------------------------------------

  /** Ask at the end of this turn, so that what is wanted in one turn is asked for at once. */
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
      for (const chunk of chunks([...ids])) {
        this.#wire.ask(`untrack:${type}`, chunk).catch(() => undefined); // it is left with the connection
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
    for (const ofType of wanted.values()) {
      for (const chunk of chunks(ofType)) void this.#follow(chunk);
    }
  }

  /** Ask for entities of one type; when they are refused together, for each by itself. */
  async #follow(asked: Subscription[]): Promise<void> {
    const answer = await this.#track(asked);
    if (answer === undefined) return;
    if (answer.success) {
      for (const subscription of asked) this.#agreed(subscription);
      return;
    }
    const [first, ...others] = asked;
    if (answer.code === 'not_authenticated') {
      this.#wire.unauthenticated(refusal(answer));
    } else if (first !== undefined && others.length === 0) {
      this.#rejected(first, refusal(answer, first));
    } else {
      for (const subscription of asked) {
        if (!this.#isAsked(subscription)) continue;
        await this.#follow([subscription]);
        await new Promise((resolve) => setTimeout(resolve, PACE));
      }
    }
  }

  async #track(asked: Subscription[]): Promise<Answer | undefined> {
    const [first] = asked;
    if (first === undefined) return undefined;
    for (const subscription of asked) subscription.state = 'asked';
    const ids = asked.map(({ id }) => id);
    try {
      return await this.#wire.ask(`track:${first.type}`, ids.length === 1 ? first.id : ids);
    } catch {
      for (const subscription of asked) {
        if (this.#isAsked(subscription)) subscription.state = 'wanted';
      }
      clearTimeout(this.#again);
      if (this.#connected) this.#again = setTimeout(() => this.#schedule(), ASK_AGAIN);
      return undefined;
    }
  }

  /** Whether an answer still concerns it: it was neither dropped nor is it asked for anew. */
  #isAsked(subscription: Subscription): boolean {
    const { type, id, state } = subscription;
    return state === 'asked' && this.#all.get(keyOf(type, id)) === subscription;
  }

  #agreed(subscription: Subscription): void {
    if (!this.#isAsked(subscription)) return;
    subscription.state = 'followed';
    for (const { resolve } of subscription.waiting.splice(0)) resolve();
  }

  #rejected(subscription: Subscription, error: TrackingError): void {
    if (!this.#isAsked(subscription)) return;
    this.#drop(subscription);
    const waiting = subscription.waiting.splice(0);
    for (const { reject } of waiting) reject(error);
    if (waiting.length === 0) this.#wire.failed(error);
  }
}

function refusal({ code = 'refused', message = 'refused' }: Answer, of?: Subscription): TrackingError {
  return new TrackingError(code, message, of && { type: of.type, id: of.id });
}

function chunks<T>(items: T[]): T[][] {
  const result: T[][] = [];
  for (let start = 0; start < items.length; start += CHUNK) result.push(items.slice(start, start + CHUNK));
  return result;
}
