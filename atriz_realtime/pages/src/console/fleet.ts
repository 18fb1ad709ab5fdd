import type { Location } from '../../../frontend/dist/index.js';
import { opacity } from '../map/age.ts';
import { Mark } from '../map/mark.ts';

/** An entity with its position and its marker. */
export interface Entity {
  readonly key: string;
  readonly type: string;
  readonly id: string;
  readonly mark: Mark;
  location: Location;
  /** The time of the position, in milliseconds since the epoch. */
  at: number;
  /** When a position was last received, by the local clock. */
  heardAt: number;
}

const byName = new Intl.Collator(undefined, { numeric: true });

/** All known entities. */
export class Fleet {
  readonly entities = new Map<string, Entity>();
  readonly marks = new Set<Mark>();
  readonly #types: readonly string[];
  readonly #ofMark = new Map<Mark, Entity>();

  /** @param types The entity types, in the order of their colours. */
  constructor(types: readonly string[]) {
    this.#types = types;
  }

  /** The number of a type, for its shape and colour. */
  kindOf(type: string): number {
    return Math.max(0, this.#types.indexOf(type));
  }

  /** Store a position; returns whether it is the first of its entity. */
  take(type: string, id: string, location: Location): boolean {
    const key = `${type}:${id}`;
    const at = Date.parse(location.timestamp);
    const known = this.entities.get(key);
    if (known === undefined) {
      const mark = new Mark(this.kindOf(type), id, location.latitude, location.longitude);
      mark.heading = location.heading;
      const entity = { key, type, id, mark, location, at, heardAt: Date.now() };
      this.entities.set(key, entity);
      this.#ofMark.set(mark, entity);
      this.marks.add(mark);
      return true;
    }
    known.heardAt = Date.now();
    if (at < known.at) return false; // an older position
    known.location = location;
    known.at = at;
    known.mark.heading = location.heading ?? known.mark.heading;
    known.mark.move(location.latitude, location.longitude, performance.now());
    return false;
  }

  remove(entity: Entity): void {
    this.entities.delete(entity.key);
    this.#ofMark.delete(entity.mark);
    this.marks.delete(entity.mark);
  }

  /** The entity of a marker. */
  of(mark: Mark): Entity | undefined {
    return this.#ofMark.get(mark);
  }

  /** Fade markers by the age of their positions; returns whether any changed. */
  age(now: number, staleAfter: number): boolean {
    let changed = false;
    for (const { mark, at } of this.entities.values()) {
      const faded = opacity((now - at) / 1_000, staleAfter);
      if (Math.abs(faded - mark.opacity) < 0.02) continue;
      mark.opacity = faded;
      changed = true;
    }
    return changed;
  }

  /** The entities of some types whose id contains a text, sorted by type and id. */
  select(types: ReadonlySet<string>, text: string): Entity[] {
    const wanted = text.trim().toLocaleLowerCase();
    return [...this.entities.values()]
      .filter(({ type, id }) => types.has(type) && (wanted === '' || id.toLocaleLowerCase().includes(wanted)))
      .sort((one, other) => one.mark.kind - other.mark.kind || byName.compare(one.id, other.id));
  }
}
