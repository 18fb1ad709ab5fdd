import { ageText } from '../map/age.ts';
import { make, write } from '../dom.ts';
import type { Entity } from './fleet.ts';
import { glyph, setKind } from '../map/glyph.ts';

/** Height of a row in pixels, as in the style sheet. */
const ROW = 44;

/** Additional rows above and below the visible ones. */
const SPARE = 6;

interface Row {
  readonly element: HTMLElement;
  readonly shape: SVGSVGElement;
  readonly name: HTMLElement;
  readonly speed: HTMLElement;
  readonly age: HTMLElement;
}

export interface ListOptions {
  /** Called when the user chooses an entity. */
  choose(entity: Entity): void;
  /** The time of the server clock, in milliseconds since the epoch. */
  now(): number;
  /** Seconds after which a position counts as stale. */
  staleAfter: number;
}

/** A virtual list box: only visible rows have elements. */
export class List {
  readonly #box: HTMLElement;
  readonly #sheet = make('div', 'sheet');
  readonly #rows: Row[] = [];
  readonly #options: ListOptions;
  #entities: readonly Entity[] = [];
  #active: string | undefined;
  #chosen: string | undefined;

  constructor(box: HTMLElement, options: ListOptions) {
    this.#box = box;
    this.#options = options;
    this.#sheet.role = 'presentation';
    box.append(this.#sheet);
    box.addEventListener('scroll', () => this.draw(), { passive: true });
    box.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('click', (event) => this.#click(event));
    box.addEventListener('focus', () => this.#focused());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  show(entities: readonly Entity[]): void {
    this.#entities = entities;
    this.draw();
  }

  /** Mark an entity as chosen, and scroll to it. */
  choose(key: string | undefined): void {
    this.#chosen = key;
    if (key !== undefined) this.#activate(this.#indexOf(key));
    this.draw();
  }

  /** Update the visible rows. */
  draw(): void {
    const box = this.#box;
    const { length } = this.#entities;
    this.#sheet.style.height = `${length * ROW}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const last = Math.min(length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
    for (let index = this.#rows.length; index < last - first; index += 1) this.#rows.push(this.#addRow());
    for (const [index, row] of this.#rows.entries()) {
      const entity = first + index < last ? this.#entities[first + index] : undefined;
      row.element.hidden = entity === undefined;
      if (entity !== undefined) this.#fill(row, entity, first + index);
    }
    const active = this.#rows.find(({ element }) => !element.hidden && element.dataset['key'] === this.#active);
    if (active === undefined) box.removeAttribute('aria-activedescendant');
    else box.setAttribute('aria-activedescendant', active.element.id);
  }

  #addRow(): Row {
    const row = {
      element: make('div', 'row'),
      shape: glyph(),
      name: make('span', 'name'),
      speed: make('span', 'speed'),
      age: make('span', 'age'),
    };
    row.element.role = 'option';
    row.element.id = `row-${this.#rows.length}`;
    row.element.append(row.shape, row.name, row.speed, row.age);
    this.#sheet.append(row.element);
    return row;
  }

  #fill({ element, shape, name, speed, age }: Row, entity: Entity, index: number): void {
    const { location, mark } = entity;
    const seconds = (this.#options.now() - entity.at) / 1_000;
    element.style.transform = `translateY(${index * ROW}px)`;
    element.dataset['key'] = entity.key;
    element.ariaSetSize = String(this.#entities.length);
    element.ariaPosInSet = String(index + 1);
    element.ariaSelected = String(entity.key === this.#chosen);
    element.classList.toggle('active', entity.key === this.#active);
    element.classList.toggle('stale', seconds >= this.#options.staleAfter);
    setKind(shape, mark.kind);
    write(name, entity.id);
    write(speed, location.speed === undefined ? '' : `${Math.round(location.speed)} km/h`);
    write(age, ageText(seconds));
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
    if (this.#indexOf(this.#active) === -1) this.#activate(Math.max(0, this.#indexOf(this.#chosen)));
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
    if (there !== undefined) {
      this.#activate(Math.max(0, Math.min(last, there)));
    } else if (event.key === 'Enter' || event.key === ' ') {
      const entity = this.#entities[here];
      if (entity !== undefined) this.#options.choose(entity);
    } else {
      return;
    }
    event.preventDefault();
  }

  #click({ target }: MouseEvent): void {
    const key = target instanceof Element ? target.closest<HTMLElement>('.row')?.dataset['key'] : undefined;
    const entity = this.#entities[this.#indexOf(key)];
    if (entity !== undefined) this.#options.choose(entity);
  }
}
