import { Refusal, type Api } from './api.ts';
import type { Connections } from './connections.ts';
import type { Entity, Fleet } from './fleet.ts';

/** Milliseconds between two listings, and how many more for each entity. */
const PERIOD = 3_000;
const PERIOD_EACH = 5;

/** An entity that was updated within so many milliseconds is kept though the listing lacks it. */
const RECENT = 15_000;

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
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #over = false;

  constructor(
    readonly types: readonly string[],
    readonly api: Api,
    readonly connections: Connections,
    readonly fleet: Fleet,
    readonly listeners: SyncListeners,
  ) {}

  /** The number of listed entities that the user may not track. */
  get refused(): number {
    return this.#refused.size;
  }

  /** Hide an entity that the user may not track, until the next connection. */
  refuse(type: string, id: string): void {
    const key = `${type}:${id}`;
    this.#refused.add(key);
    const entity = this.fleet.entities.get(key);
    if (entity !== undefined) this.#drop(entity);
    this.listeners.changed();
  }

  /** List now and regularly from then on; refused entities are tried again. */
  start(): void {
    this.#refused.clear();
    void this.#list();
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  async #list(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    clearTimeout(this.#timer);
    let failure: unknown;
    try {
      for (const type of this.types) await this.#listType(type);
    } catch (error) {
      failure = error;
    }
    this.#running = false;
    if (this.#over) return;
    const period = PERIOD + PERIOD_EACH * this.fleet.entities.size;
    this.#timer = setTimeout(() => void this.#list(), period);
    this.listeners.done(failure);
  }

  async #listType(type: string): Promise<void> {
    const listed = new Set<string>();
    for await (const page of this.api.list(type)) {
      if (this.#over) return;
      const fresh: string[] = [];
      for (const { entityId, location } of page) {
        const key = `${type}:${entityId}`;
        listed.add(key);
        if (!this.#refused.has(key) && this.fleet.take(type, entityId, location)) fresh.push(entityId);
      }
      if (fresh.length === 0) continue;
      this.connections.track(type, fresh);
      this.listeners.changed();
    }
    for (const key of this.#refused) {
      if (key.startsWith(`${type}:`) && !listed.has(key)) this.#refused.delete(key);
    }
    const since = Date.now() - RECENT;
    for (const entity of this.fleet.entities.values()) {
      if (entity.type === type && !listed.has(entity.key) && entity.heardAt < since) {
        this.#drop(entity);
        this.connections.untrack(type, entity.id);
        this.listeners.changed();
      }
    }
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
