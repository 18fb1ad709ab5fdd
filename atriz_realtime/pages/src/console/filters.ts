import { element, make } from '../dom.ts';
import type { Freshness } from '../freshness.ts';
import { glyph, setKind } from '../map/glyph.ts';
import type { Address } from './address.ts';
import { Chips } from './chips.ts';
import { STATES, type Found, type Query } from './query.ts';

const WORDS: Readonly<Record<Freshness, string>> = { live: 'Live', stale: 'No news', offline: 'Offline' };

/** The search, and the buttons that show and hide types and states. */
export class Filters {
  readonly search = element<HTMLInputElement>('search');
  readonly #types: Chips<string>;
  readonly #states: Chips<Freshness>;
  readonly #changed: () => void;

  /** @param changed Called when the user changes a filter. */
  constructor(types: readonly string[], changed: () => void) {
    this.#changed = changed;
    this.#types = new Chips(element('types'), {
      values: types,
      label: (type) => type,
      icon: (type) => {
        const shape = glyph();
        setKind(shape, types.indexOf(type));
        return shape;
      },
      changed,
    });
    this.#states = new Chips(element('states'), {
      values: STATES,
      label: (state) => WORDS[state],
      icon: (state) => make('span', `dot ${state}`),
      changed,
    });
    this.search.addEventListener('input', changed);
  }

  get query(): Query {
    return { types: this.#types.shown, states: this.#states.shown, text: this.search.value };
  }

  /** The filters as the address has them. */
  get address(): Address {
    return { search: this.search.value, types: this.#types.chosen, states: this.#states.chosen };
  }

  set address({ search = '', types, states }: Address) {
    this.search.value = search;
    this.#types.chosen = types;
    this.#states.chosen = states;
  }

  /** Show how many entities there are of each type and in each state. */
  count({ types, states }: Found): void {
    this.#types.count(types);
    this.#states.count(states);
  }

  /** Show everything again. */
  clear(): void {
    this.address = {};
    this.#changed();
  }
}
