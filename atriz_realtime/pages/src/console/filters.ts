import { element, make, write } from '../dom.ts';
import { glyph, setKind } from '../map/glyph.ts';

/** Filters of the list and the map: entity types, and a part of the id. */
export class Filters {
  readonly shown: Set<string>;
  readonly search = element<HTMLInputElement>('search');
  readonly #counts = new Map<string, HTMLElement>();

  /** @param changed Called when a filter changes. */
  constructor(types: readonly string[], changed: () => void) {
    this.shown = new Set(types);
    element('types').replaceChildren(...types.map((type, kind) => this.#button(type, kind, changed)));
    this.search.addEventListener('input', changed);
  }

  /** Show the number of entities of each type. */
  count(counts: ReadonlyMap<string, number>): void {
    for (const [type, count] of this.#counts) write(count, (counts.get(type) ?? 0).toLocaleString());
  }

  #button(type: string, kind: number, changed: () => void): HTMLButtonElement {
    const button = make('button', 'type');
    button.type = 'button';
    button.ariaPressed = 'true';
    const shape = glyph();
    setKind(shape, kind);
    const count = make('span', 'count');
    this.#counts.set(type, count);
    button.append(shape, make('span', '', type), count);
    button.addEventListener('click', () => {
      if (!this.shown.delete(type)) this.shown.add(type);
      button.ariaPressed = String(this.shown.has(type));
      changed();
    });
    return button;
  }
}
