import { lineOf } from '../text.ts';

/** What `metadata` may say about an entity, in the order in which it is shown. */
export const FIELDS = ['name', 'plate', 'driver', 'group'] as const;

export type Field = (typeof FIELDS)[number];

/** The key of `metadata` that holds each field; empty: none. */
export type FieldKeys = Readonly<Record<Field | 'destination', string>>;

/** The fields of an entity; empty: not known. */
export type Names = Record<Field, string>;

/** Most characters of a field. */
const LENGTH = 80;

export function noNames(): Names {
  return { name: '', plate: '', driver: '', group: '' };
}

/**
 * Take the fields that metadata has; the others keep what they were, since not every report repeats them.
 *
 * @param keys The key of each field in the metadata; empty: none.
 * @returns Whether any has changed.
 */
export function readNames(
  names: Names,
  metadata: Readonly<Record<string, unknown>> | undefined,
  keys: FieldKeys,
): boolean {
  if (metadata === undefined) return false;
  let changed = false;
  for (const field of FIELDS) {
    const key = keys[field];
    if (key === '' || !Object.hasOwn(metadata, key)) continue;
    const value = metadata[key];
    if (typeof value !== 'string' && typeof value !== 'number') continue;
    const text = lineOf(String(value), LENGTH);
    if (text === names[field]) continue;
    names[field] = text;
    changed = true;
  }
  return changed;
}
