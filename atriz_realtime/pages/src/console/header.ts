import { element, make } from '../dom.ts';
import { columns, type ColumnName } from './columns.ts';
import type { PreferenceStore } from './preferences.ts';

/** The padding of a row, and its symbol; and the gap between two columns: in rem, as in the style sheet. */
const BESIDE = 3.25;
const GAP = 0.6;

/** The heads of the list's columns, which sort it. */
export class Header {
  readonly #box = element('columns');
  readonly #page = element('console');
  readonly #preferences: PreferenceStore;

  constructor(preferences: PreferenceStore) {
    this.#preferences = preferences;
  }

  /** Show the name and these columns. */
  show(names: readonly ColumnName[]): void {
    const { sort, descending } = this.#preferences.value;
    const focused = this.#box.contains(document.activeElement) ? document.activeElement?.id : undefined;
    const { style } = this.#page;
    style.setProperty('--columns', `1.25rem 1fr ${names.map((name) => `${columns[name].width}rem`).join(' ')}`);
    style.setProperty('--list', `${widthOf(names)}rem`);
    this.#box.replaceChildren(
      ...(['name', ...names] as const).map((name) => {
        const { title, isNumber = false } = columns[name];
        const button = make('button', isNumber ? 'quiet number' : 'quiet', title);
        button.type = 'button';
        button.id = `sort-${name}`;
        button.ariaPressed = String(name === sort);
        if (name === sort) {
          button.dataset['order'] = descending ? 'descending' : 'ascending';
          button.ariaLabel = `${title}, ${descending ? 'descending' : 'ascending'}`;
        }
        button.addEventListener('click', () =>
          this.#preferences.change({ sort: name, descending: name === sort && !descending }),
        );
        return button;
      }),
    );
    if (focused !== undefined) document.getElementById(focused)?.focus();
  }
}

function widthOf(names: readonly ColumnName[]): number {
  const widths = ['name' as const, ...names].map((name) => columns[name].width + GAP);
  return widths.reduce((sum, width) => sum + width, BESIDE);
}
