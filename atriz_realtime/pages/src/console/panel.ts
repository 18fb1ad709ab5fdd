import { element, write } from '../dom.ts';
import { choices } from './columns.ts';
import { save } from './csv.ts';
import { Filters } from './filters.ts';
import { titleOf, type Entity, type Fleet } from './fleet.ts';
import type { Formats } from './formats.ts';
import { Header } from './header.ts';
import { List } from './list.ts';
import { Order } from './order.ts';
import type { PreferenceStore } from './preferences.ts';
import { find } from './query.ts';
import type { Settings } from './settings.ts';

export interface PanelListeners {
  /** The time of the server clock, in milliseconds since the epoch. */
  now(): number;
  /** The user has chosen an entity. */
  choose(entity: Entity): void;
  /** The pointer points to an entity in the list; `undefined`: to none. */
  hover(entity: Entity | undefined): void;
  /** The user has changed what is shown. */
  filtered(): void;
  /** Bring entities into view. */
  fit(entities: readonly Entity[]): void;
  /** Tell people who cannot see the page. */
  announce(text: string): void;
}

/** The filters, the list and its selection. */
export class Panel {
  readonly filters: Filters;
  readonly #fleet: Fleet;
  readonly #fields: Settings['fields'];
  readonly #preferences: PreferenceStore;
  readonly #listeners: PanelListeners;
  readonly #list: List;
  readonly #order: Order;
  readonly #header: Header;
  readonly #selecting = element<HTMLButtonElement>('select');
  #found: readonly Entity[] = [];
  #chosen: Entity | undefined;

  constructor(
    fleet: Fleet,
    { types, fields }: Settings,
    preferences: PreferenceStore,
    formats: Formats,
    listeners: PanelListeners,
  ) {
    this.#fleet = fleet;
    this.#fields = fields;
    this.#preferences = preferences;
    this.#listeners = listeners;
    this.#header = new Header(preferences);
    this.#order = new Order(fleet);
    this.#list = new List(element('list'), {
      formats,
      now: () => listeners.now(),
      choose: (entity) => listeners.choose(entity),
      hover: (entity) => listeners.hover(entity),
      selected: () => this.#showSelection(true),
      held: () => this.#select(true),
    });
    this.filters = new Filters(types, () => {
      this.refresh(true);
      listeners.filtered();
      listeners.announce(`${this.#found.length.toLocaleString()} of ${this.#fleet.entities.size.toLocaleString()} listed`);
    });
    preferences.onChange(() => this.#arrange());
    element('clear-filters').addEventListener('click', () => {
      this.filters.clear();
      this.filters.search.focus();
    });
    element('export').addEventListener('click', () => save(this.#found));
    this.#selecting.addEventListener('click', () => {
      if (this.isSelecting) this.clearSelection();
      else this.#select(true);
    });
    element('select-all').addEventListener('click', () => this.#list.selectAll());
    element('fit-selected').addEventListener('click', () => listeners.fit(this.#selected));
    element('export-selected').addEventListener('click', () => save(this.#selected));
    element('clear-selected').addEventListener('click', () => this.clearSelection());
    this.#arrange();
  }

  /** The entities that pass the filters, in the order of the list. */
  get found(): readonly Entity[] {
    return this.#found;
  }

  /** Whether the user selects several. */
  get isSelecting(): boolean {
    return this.#list.selecting || this.#list.selection.keys.size > 1;
  }

  /** Find again what passes the filters; `top`: scroll to the first. */
  refresh(top: boolean): void {
    const { sort: by, descending } = this.#preferences.value;
    const found = find(this.#order.of(by, descending), this.filters.query);
    this.#found = found.entities;
    this.filters.count(found);
    this.#list.show(this.#found, top);
  }

  /** Update the texts of the visible rows. */
  draw(): void {
    this.#list.draw();
  }

  /** Say how many there are, and why there are none. */
  describe(beside: Entity | undefined, complete: boolean): void {
    const [found, total] = [this.#found.length, this.#fleet.entities.size];
    const count = found === total ? total.toLocaleString() : `${found.toLocaleString()} of ${total.toLocaleString()}`;
    const more = beside === undefined ? '' : `, and ${titleOf(beside)}`;
    write(element('count'), total === 0 ? '' : `${count} on the map${more}`);
    element('empty').hidden = found > 0;
    element('clear-filters').hidden = total === 0;
    write(element('empty-title'), total > 0 ? 'Nothing matches' : complete ? 'Nothing has reported yet' : 'Loading…');
    const hint = complete ? 'What reports a position appears here by itself.' : '';
    write(element('empty-hint'), total > 0 ? `None of ${total.toLocaleString()} passes the search and the filters.` : hint);
    element<HTMLButtonElement>('export').disabled = found === 0;
  }

  /** Select an entity alone; `undefined`: none. */
  choose(entity: Entity | undefined): void {
    this.#chosen = entity;
    this.#list.choose(entity?.key);
    this.#select(false);
  }

  /** Select nothing beside what is chosen. */
  clearSelection(): void {
    this.choose(this.#chosen);
  }

  /** Take an entity that is gone out of the selection. */
  drop(entity: Entity): void {
    if (this.#list.selection.drop(entity.key)) this.#showSelection(false);
  }

  get #selected(): Entity[] {
    const { keys } = this.#list.selection;
    return [...keys].flatMap((key) => this.#fleet.entities.get(key) ?? []);
  }

  /** Let clicks select, or choose again. */
  #select(selecting: boolean): void {
    this.#list.selecting = selecting;
    this.#showSelection(selecting);
  }

  #showSelection(announce: boolean): void {
    const { size } = this.#list.selection.keys;
    const text = size === 0 ? 'None selected' : `${size.toLocaleString()} selected`;
    element('selected').hidden = !this.isSelecting;
    element('table').classList.toggle('selecting', this.isSelecting);
    this.#selecting.ariaPressed = String(this.isSelecting);
    for (const id of ['fit-selected', 'export-selected']) element<HTMLButtonElement>(id).disabled = size === 0;
    write(element('selected-count'), text);
    if (announce) this.#listeners.announce(text);
  }

  /** Show the columns and the order that the user prefers. */
  #arrange(): void {
    const columns = choices(this.#fields).filter((name) => this.#preferences.value.columns.includes(name));
    this.#header.show(columns);
    this.#list.setColumns(columns);
    this.refresh(true);
  }
}
