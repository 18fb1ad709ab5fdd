import type { Location } from '../../../frontend/dist/index.js';
import { freshnessOf, type Freshness, type FreshnessLimits } from '../freshness.ts';
import { Mark } from '../map/mark.ts';
import { noNames, readNames, type FieldKeys, type Names } from './names.ts';

/** An entity with its position and its marker. */
export interface Entity {
  readonly key: string;
  readonly type: string;
  readonly id: string;
  readonly mark: Mark;
  readonly names: Names;
  /** Where it goes, as its metadata says it. */
  destination: unknown;
  /** What a search looks in, in lower case. */
  words: string;
  location: Location;
  /** The time of the position, in milliseconds since the epoch. */
  at: number;
  /** When a position was last received, by the local clock. */
  heardAt: number;
  /** Whether the server says that the position is only the last known one. */
  expired: boolean;
  /** As of the last call of {@link Fleet.age}. */
  freshness: Freshness;
}

/** What an entity is called: its name, or else its id. */
export function titleOf({ names, id }: Entity): string {
  return names.name === '' ? id : names.name;
}

/** All known entities. */
export class Fleet {
  readonly entities = new Map<string, Entity>();
  readonly marks = new Set<Mark>();
  readonly #types: readonly string[];
  readonly #fields: FieldKeys;
  readonly #limits: FreshnessLimits;
  readonly #ofMark = new Map<Mark, Entity>();
  #version = 0;

  /**
   * @param types The entity types, in the order of their colours.
   * @param fields The key of each field in the metadata.
   */
  constructor(types: readonly string[], fields: FieldKeys, limits: FreshnessLimits) {
    this.#types = types;
    this.#fields = fields;
    this.#limits = limits;
  }

  /** Changes when entities are added, removed or renamed. */
  get version(): number {
    return this.#version;
  }

  /** The number of a type, for its shape and colour. */
  kindOf(type: string): number {
    return Math.max(0, this.#types.indexOf(type));
  }

  /**
   * Store a position; returns whether it is the first of its entity.
   *
   * @param expired Whether it is only the last known position.
   */
  take(type: string, id: string, location: Location, expired = false): boolean {
    const key = `${type}:${id}`;
    const at = Date.parse(location.timestamp);
    const known = this.entities.get(key);
    if (known === undefined) {
      this.#add(key, type, id, location, at, expired);
      return true;
    }
    known.heardAt = Date.now();
    if (at < known.at) return false; // an older position
    known.location = location;
    known.at = at;
    known.expired = expired;
    if (readNames(known.names, location.metadata, this.#fields)) this.#named(known);
    this.#lead(known);
    if (known.freshness === 'live') known.mark.heading = location.heading ?? known.mark.heading;
    known.mark.move(location.latitude, location.longitude, performance.now());
    return false;
  }

  remove(entity: Entity): void {
    this.#version += 1;
    this.entities.delete(entity.key);
    this.#ofMark.delete(entity.mark);
    this.marks.delete(entity.mark);
  }

  /** The entity of a marker. */
  of(mark: Mark): Entity | undefined {
    return this.#ofMark.get(mark);
  }

  /** Whether an entity has just reported again, and its freshness does not show it yet. */
  hasReturned({ freshness, at }: Entity, now: number): boolean {
    return freshness !== 'live' && now - at < 1_000 * this.#limits.staleAfter;
  }

  /**
   * Update the freshness of all entities, and of their markers.
   *
   * @param now A time of the server clock.
   * @returns Whether any has changed.
   */
  age(now: number): boolean {
    let changed = false;
    for (const entity of this.entities.values()) {
      const { mark, location } = entity;
      const freshness = freshnessOf((now - entity.at) / 1_000, entity.expired, this.#limits);
      if (freshness === entity.freshness) continue;
      entity.freshness = mark.freshness = freshness;
      mark.heading = freshness === 'live' ? location.heading : undefined;
      changed = true;
    }
    return changed;
  }

  #add(key: string, type: string, id: string, location: Location, at: number, expired: boolean): void {
    const mark = new Mark(this.kindOf(type), id, location.latitude, location.longitude);
    mark.heading = location.heading;
    const entity: Entity = {
      key,
      type,
      id,
      mark,
      names: noNames(),
      destination: undefined,
      words: '',
      location,
      at,
      heardAt: Date.now(),
      expired,
      freshness: 'live',
    };
    readNames(entity.names, location.metadata, this.#fields);
    this.#named(entity);
    this.#lead(entity);
    this.entities.set(key, entity);
    this.#ofMark.set(mark, entity);
    this.marks.add(mark);
  }

  /** Take the destination, which not every report repeats. */
  #lead(entity: Entity): void {
    const { metadata } = entity.location;
    const { destination: key } = this.#fields;
    if (metadata !== undefined && Object.hasOwn(metadata, key)) entity.destination = metadata[key];
  }

  #named(entity: Entity): void {
    this.#version += 1;
    entity.mark.label = titleOf(entity);
    entity.words = [entity.id, ...Object.values(entity.names)].join('\n').toLocaleLowerCase();
  }
}
