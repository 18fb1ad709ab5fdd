import type { Entity } from './fleet.ts';

/** The selected rows of a list: none, one or several. */
export class Selection {
  readonly keys = new Set<string>();
  #anchor: string | undefined;

  /** Select one alone; `undefined`: none. */
  only(key: string | undefined): void {
    this.keys.clear();
    if (key !== undefined) this.keys.add(key);
    this.#anchor = key;
  }

  /** Add one to the others, or take it out. */
  toggle(key: string): void {
    if (!this.keys.delete(key)) this.keys.add(key);
    this.#anchor = key;
  }

  /** Select everything between the one that was selected last and another. */
  extend(key: string, entities: readonly Entity[]): void {
    const end = entities.findIndex((entity) => entity.key === key);
    const start = entities.findIndex((entity) => entity.key === this.#anchor);
    const [first, last] = [Math.min(start === -1 ? end : start, end), Math.max(start, end)];
    this.keys.clear();
    for (const entity of entities.slice(first, last + 1)) this.keys.add(entity.key);
    if (start === -1) this.#anchor = key;
  }

  all(entities: readonly Entity[]): void {
    for (const { key } of entities) this.keys.add(key);
  }

  /** Whether it was selected; it no longer is. */
  drop(key: string): boolean {
    return this.keys.delete(key);
  }
}
