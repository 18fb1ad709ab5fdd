import { Refusal, type Api } from './api.ts';
import type { Connections } from './connections.ts';
import type { Entity, Fleet } from './fleet.ts';
import { loadSettings, type Settings } from './settings.ts';

/** Milliseconds between two listings, and how many more for each entity. */
const PERIOD = 3_000;
const PERIOD_EACH = 5;

/** An entity that was heard of within so many milliseconds is kept though the listing lacks it. */
const RECENT = 15_000;

/** Milliseconds for which an entity is kept that the server no longer knows. */
const KEPT = 86_400_000;

export interface SyncListeners {
  /** Entities were added or removed. */
  changed(): void;
  gone(entity: Entity): void;
  /** A listing is complete; `undefined`: without a failure. */
  done(failure: unknown): void;
}

/** Lists the entities regularly, tracks new ones, and removes those that are gone. */
export class Sync {
  readonly #refused = new Set<string>();
  readonly #tracked = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #memory: string;
  /** When the server was found to have forgotten all that it knew, by the local clock. */
  #forgottenAt = 0;

  /** @param settings As the server had them when the page was opened. */
  constructor(
    readonly settings: Settings,
    readonly api: Api,
    readonly connections: Connections,
    readonly fleet: Fleet,
    readonly listeners: SyncListeners,
  ) {
    this.#memory = settings.memory;
  }

  /** The number of listed entities that the user may not track. */
  get refused(): number {
    return this.#refused.size;
  }

  /** Hide an entity that the user may not track, until the next connection. */
  refuse(type: string, id: string): void {
    const key = `${type}:${id}`;
    this.#refused.add(key);
    this.#tracked.delete(key);
    const entity = this.fleet.entities.get(key);
    if (entity !== undefined) this.#drop(entity);
    this.listeners.changed();
  }

  /** List now and regularly from then on; refused entities are tried again. */
  start(): void {
    this.#refused.clear();
    void this.#list();
  }

  async #list(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#timer);
    let failure: unknown;
    try {
      for (const type of this.settings.types) await this.#listType(type);
    } catch (error) {
      failure = error;
    }
    this.#running = false;
    const period = PERIOD + PERIOD_EACH * this.fleet.entities.size;
    this.#timer = setTimeout(() => void this.#list(), period);
    this.listeners.done(failure);
  }

  async #listType(type: string): Promise<void> {
    const listed = new Set<string>();
    for await (const page of this.api.list(type)) {
      const current: string[] = [];
      let added = false;
      for (const { entityId, location, expired = false } of page) {
        const key = `${type}:${entityId}`;
        listed.add(key);
        if (this.#refused.has(key)) continue;
        if (this.fleet.take(type, entityId, location, expired)) added = true;
        if (!expired) current.push(entityId); // an entity that reports again is listed as current
      }
      this.#track(type, current);
      if (added) this.listeners.changed();
    }
    for (const key of this.#refused) {
      if (key.startsWith(`${type}:`) && !listed.has(key)) this.#refused.delete(key);
    }
    await this.#missing(type, listed);
  }

  /** Keep or remove the entities that the listing lacks. */
  async #missing(type: string, listed: ReadonlySet<string>): Promise<void> {
    const recent = Date.now() - RECENT;
    const isMissing = (entity: Entity) => entity.type === type && !listed.has(entity.key) && entity.heardAt < recent;
    const missing = [...this.fleet.entities.values()].filter(isMissing);
    if (missing.some((entity) => this.#isRemoved(entity))) await this.#askMemory();
    const kept: string[] = [];
    for (const entity of missing) {
      if (!isMissing(entity) || this.fleet.entities.get(entity.key) !== entity) continue; // heard or refused meanwhile
      if (!this.#isRemoved(entity)) {
        kept.push(entity.id);
        continue;
      }
      this.#drop(entity);
      if (this.#tracked.delete(entity.key)) this.connections.untrack(type, entity.id);
      this.listeners.changed();
    }
    this.#track(type, kept); // the server then says if the user may no longer see them
  }

  /** Find out whether the server has forgotten what it knew, before anything is removed. */
  async #askMemory(): Promise<void> {
    const { memory } = await loadSettings();
    if (memory !== this.#memory) this.#forgottenAt = Date.now();
    this.#memory = memory;
  }

  /** Whether a missing entity is gone for good: its position has not just expired, nor been lost in a restart. */
  #isRemoved({ type, heardAt, expired, at }: Entity): boolean {
    if (heardAt < Date.now() - KEPT) return true;
    if (heardAt < this.#forgottenAt) return false;
    const { lastKnown, offlineAfter } = this.settings;
    // the listing has what expires, where last known locations are kept
    return lastKnown.includes(type) || expired || this.api.clock.now() - at < 1_000 * offlineAfter;
  }

  #track(type: string, ids: readonly string[]): void {
    const fresh = ids.filter((id) => !this.#tracked.has(`${type}:${id}`));
    if (fresh.length === 0) return;
    for (const id of fresh) this.#tracked.add(`${type}:${id}`);
    this.connections.track(type, fresh);
  }

  #drop(entity: Entity): void {
    this.fleet.remove(entity);
    this.listeners.gone(entity);
  }
}

/** Whether a failure means that the server does not accept the token. */
export function isUnknownUser(failure: unknown): boolean {
  return failure instanceof Refusal && failure.status === 401;
}
