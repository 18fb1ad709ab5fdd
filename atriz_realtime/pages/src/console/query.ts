import type { Freshness } from '../freshness.ts';
import type { Entity } from './fleet.ts';

/** From the newest to the oldest. */
export const STATES: readonly Freshness[] = ['live', 'stale', 'offline'];

/** What the user wants to see. */
export interface Query {
  readonly types: ReadonlySet<string>;
  readonly states: ReadonlySet<Freshness>;
  /** Words that the id or a name contains, all of them. */
  readonly text: string;
}

/** What a query finds. */
export interface Found {
  readonly entities: Entity[];
  /** How many of each type the rest of the query finds. */
  readonly types: ReadonlyMap<string, number>;
  /** How many in each state the rest of the query finds. */
  readonly states: ReadonlyMap<Freshness, number>;
}

/** Find entities, in their order. */
export function find(entities: Iterable<Entity>, query: Query): Found {
  const words = query.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found: Entity[] = [];
  const types = new Map<string, number>();
  const states = new Map<Freshness, number>();
  for (const entity of entities) {
    if (!words.every((word) => entity.words.includes(word))) continue;
    const [ofType, inState] = [query.types.has(entity.type), query.states.has(entity.freshness)];
    if (inState) types.set(entity.type, (types.get(entity.type) ?? 0) + 1);
    if (ofType) states.set(entity.freshness, (states.get(entity.freshness) ?? 0) + 1);
    if (ofType && inState) found.push(entity);
  }
  return { entities: found, types, states };
}
