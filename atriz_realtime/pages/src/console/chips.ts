import { make, write } from '../dom.ts';

export interface ChipOptions<Value extends string> {
  readonly values: readonly Value[];
  label(value: Value): string;
  icon(value: Value): Element;
  /** Called when the user turns one on or off. */
  changed(): void;
}

/** A row of buttons that turn values on and off, each with a count. */
export class Chips<Value extends string> {
  readonly shown: Set<Value>;
  readonly #values: readonly Value[];
  readonly #buttons = new Map<Value, HTMLButtonElement>();
  readonly #counts = new Map<Value, HTMLElement>();

  constructor(box: HTMLElement, { values, label, icon, changed }: ChipOptions<Value>) {
    this.#values = values;
    this.shown = new Set(values);
    for (const value of values) {
      const button = make('button', 'chip');
      button.type = 'button';
      const count = make('span', 'count', '0');
      button.append(icon(value), make('span', 'word', label(value)), count);
      button.addEventListener('click', () => {
        if (!this.shown.delete(value)) this.shown.add(value);
        this.#draw();
        changed();
      });
      this.#buttons.set(value, button);
      this.#counts.set(value, count);
    }
    box.replaceChildren(...this.#buttons.values());
    this.#draw();
  }

  /** The values that are on; `undefined`: all. */
  get chosen(): Value[] | undefined {
    return this.shown.size === this.#values.length ? undefined : this.#values.filter((each) => this.shown.has(each));
  }

  set chosen(values: readonly Value[] | undefined) {
    this.shown.clear();
    for (const value of this.#values) if (values === undefined || values.includes(value)) this.shown.add(value);
    this.#draw();
  }

  /** Show how many of each value there are. */
  count(counts: ReadonlyMap<Value, number>): void {
    for (const [value, count] of this.#counts) write(count, (counts.get(value) ?? 0).toLocaleString());
  }

  #draw(): void {
    for (const [value, button] of this.#buttons) button.ariaPressed = String(this.shown.has(value));
  }
}
