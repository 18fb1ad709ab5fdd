import { make, write } from '../dom.ts';
import { glyph, setKind } from '../map/glyph.ts';
import { columns, type ColumnName } from './columns.ts';
import { titleOf, type Entity } from './fleet.ts';
import type { Formats } from './formats.ts';
import { FIELDS } from './names.ts';
import { onLongPress } from './press.ts';
import { Selection } from './selection.ts';

/** Height of a row in pixels, as in the style sheet. */
const ROW = 48;

/** Additional rows above and below the visible ones. */
const SPARE = 6;

interface Row {
  readonly element: HTMLElement;
  /** For screen readers, instead of all that is visible. */
  readonly label: HTMLElement;
  readonly shape: SVGSVGElement;
  readonly title: HTMLElement;
  readonly more: HTMLElement;
  readonly cells: readonly HTMLElement[];
}

export interface ListOptions {
  readonly formats: Formats;
  /** The time of the server clock, in milliseconds since the epoch. */
  now(): number;
  /** Called when the user chooses an entity. */
  choose(entity: Entity): void;
  /** Called when the pointer comes to an entity; `undefined`: when it leaves the list. */
  hover(entity: Entity | undefined): void;
  /** Called when the user selects several, or none. */
  selected(): void;
  /** Called when the user touches an entity for long, before it is selected. */
  held(): void;
}

/** A virtual list box: only visible rows have elements. */
export class List {
  readonly selection = new Selection();
  /** Whether a click selects an entity, and does not choose it. */
  selecting = false;
  readonly #box: HTMLElement;
  readonly #sheet = make('div', 'sheet');
  readonly #options: ListOptions;
  #rows: Row[] = [];
  #columns: readonly ColumnName[] = [];
  #entities: readonly Entity[] = [];
  #active: string | undefined;

  constructor(box: HTMLElement, options: ListOptions) {
    this.#box = box;
    this.#options = options;
    this.#sheet.role = 'presentation';
    box.append(this.#sheet);
    onLongPress(box, (event) => this.#hold(event));
    box.addEventListener('scroll', () => this.draw(), { passive: true });
    box.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('click', (event) => this.#click(event));
    box.addEventListener('mouseover', (event) => options.hover(this.#pointed(event)));
    box.addEventListener('mouseleave', () => options.hover(undefined));
    box.addEventListener('focus', () => this.#focused());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Set the columns beside the name. */
  setColumns(names: readonly ColumnName[]): void {
    this.#columns = names;
    this.#rows = [];
    this.#sheet.replaceChildren();
    this.draw();
  }

  /** Set what is listed; `top`: scroll to the first. */
  show(entities: readonly Entity[], top: boolean): void {
    this.#entities = entities;
    if (top) {
      this.#sheet.style.height = `${entities.length * ROW}px`;
      this.#box.scrollTop = 0;
      this.#active = undefined;
    }
    this.draw();
  }

  /** Select an entity alone, and scroll to it; `undefined`: none. */
  choose(key: string | undefined): void {
    this.selection.only(key);
    if (key !== undefined) this.#activate(this.#indexOf(key));
    this.draw();
  }

  /** Select all that are listed. */
  selectAll(): void {
    this.selection.all(this.#entities);
    this.draw();
    this.#options.selected();
  }

  /** Update the visible rows. */
  draw(): void {
    const box = this.#box;
    const { length } = this.#entities;
    this.#sheet.style.height = `${length * ROW}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const last = Math.min(length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
    for (let index = this.#rows.length; index < last - first; index += 1) this.#rows.push(this.#addRow());
    const now = this.#options.now();
    for (const [index, row] of this.#rows.entries()) {
      const entity = first + index < last ? this.#entities[first + index] : undefined;
      row.element.hidden = entity === undefined;
      if (entity !== undefined) this.#fill(row, entity, first + index, now);
    }
    const active = this.#rows.find(({ element }) => !element.hidden && element.dataset['key'] === this.#active);
    if (active === undefined) box.removeAttribute('aria-activedescendant');
    else box.setAttribute('aria-activedescendant', active.element.id);
  }

  #addRow(): Row {
    const row = {
      element: make('div', 'row'),
      label: make('span', 'unseen'),
      shape: glyph(),
      title: make('span', 'title'),
      more: make('span', 'more'),
      cells: this.#columns.map((name) => make('span', `cell ${name}${columns[name].isNumber === true ? ' number' : ''}`)),
    };
    row.element.role = 'option';
    row.element.id = `row-${this.#rows.length}`;
    const name = make('span', 'name');
    name.append(row.title, row.more);
    for (const visible of [name, ...row.cells]) visible.ariaHidden = 'true';
    row.element.append(row.label, row.shape, name, ...row.cells);
    this.#sheet.append(row.element);
    return row;
  }

  #fill({ element, label, shape, title, more, cells }: Row, entity: Entity, index: number, now: number): void {
    const { formats } = this.#options;
    const { freshness, mark, type, id } = entity;
    const state = formats.state(entity, now);
    const name = titleOf(entity);
    element.style.transform = `translateY(${index * ROW}px)`;
    element.dataset['key'] = entity.key;
    element.dataset['state'] = freshness;
    element.ariaSetSize = String(this.#entities.length);
    element.ariaPosInSet = String(index + 1);
    element.ariaSelected = String(this.selection.keys.has(entity.key));
    write(label, [name, name === id ? '' : id, type, state].filter(Boolean).join(', '));
    element.classList.toggle('active', entity.key === this.#active);
    setKind(shape, mark.kind);
    write(title, name);
    const says = freshness !== 'live' && !this.#columns.includes('status');
    more.classList.toggle('status', says);
    write(more, this.#more(entity, says ? state : ''));
    for (const [place, cell] of cells.entries()) {
      const column = this.#columns[place];
      if (column !== undefined) write(cell, columns[column].text(entity, formats, now));
    }
  }

  /** The line below the name: what no column says. */
  #more({ names, type }: Entity, state: string): string {
    const others = FIELDS.filter((field) => field !== 'name' && !this.#columns.includes(field));
    const parts = [state, ...others.map((field) => names[field])].filter(Boolean);
    return parts.length === 0 ? type : parts.join(' · ');
  }

  // -- navigation -----------------------------------------------------------------------------

  #indexOf(key: string | undefined): number {
    return this.#entities.findIndex((entity) => entity.key === key);
  }

  #activate(index: number): void {
    const entity = this.#entities[index];
    if (entity === undefined) return;
    this.#active = entity.key;
    const { scrollTop, clientHeight } = this.#box;
    if (index * ROW < scrollTop) this.#box.scrollTop = index * ROW;
    else if ((index + 1) * ROW > scrollTop + clientHeight) this.#box.scrollTop = (index + 1) * ROW - clientHeight;
    this.draw();
  }

  #focused(): void {
    if (this.#indexOf(this.#active) !== -1) return;
    const selected = this.#entities.findIndex(({ key }) => this.selection.keys.has(key));
    this.#activate(Math.max(0, selected));
  }

  #key(event: KeyboardEvent): void {
    const here = this.#indexOf(this.#active);
    const page = Math.max(1, Math.floor(this.#box.clientHeight / ROW) - 1);
    const last = this.#entities.length - 1;
    const there = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + page,
      PageUp: here - page,
      Home: 0,
      End: last,
    }[event.key];
    const entity = this.#entities[here];
    if (there !== undefined) {
      if (event.shiftKey && this.selection.keys.size === 0 && entity !== undefined) this.selection.only(entity.key);
      this.#activate(Math.max(0, Math.min(last, there)));
      if (event.shiftKey && this.#active !== undefined) this.#select((selection, key) => selection.extend(key, this.#entities));
    } else if (event.key === 'Enter') {
      if (entity !== undefined) this.#options.choose(entity);
    } else if (event.key === ' ') {
      this.#select((selection, key) => selection.toggle(key));
    } else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) {
      this.selectAll();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Change the selection by the active row. */
  #select(change: (selection: Selection, key: string) => void): void {
    if (this.#active === undefined) return;
    change(this.selection, this.#active);
    this.draw();
    this.#options.selected();
  }

  /** The entity whose row the pointer is on. */
  #pointed({ target }: MouseEvent): Entity | undefined {
    const key = target instanceof Element ? target.closest<HTMLElement>('.row')?.dataset['key'] : undefined;
    return this.#entities[this.#indexOf(key)];
  }

  #click(event: MouseEvent): void {
    const entity = this.#pointed(event);
    if (entity === undefined) return;
    this.#active = entity.key;
    if (this.selecting || event.ctrlKey || event.metaKey) this.#select((selection) => selection.toggle(entity.key));
    else if (event.shiftKey) this.#select((selection) => selection.extend(entity.key, this.#entities));
    else this.#options.choose(entity);
  }

  /** Select by a long touch. */
  #hold(event: MouseEvent): void {
    const entity = this.#pointed(event);
    if (entity === undefined) return;
    this.#options.held();
    this.#active = entity.key;
    this.#select((selection, key) => selection.toggle(key));
  }
}
