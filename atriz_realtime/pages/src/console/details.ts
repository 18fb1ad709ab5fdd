import { ageText } from '../map/age.ts';
import { element, make, write } from '../dom.ts';
import type { Entity } from './fleet.ts';
import { glyph, setKind } from '../map/glyph.ts';

/** Most metadata entries that are shown, and most characters of each. */
const ENTRIES = 8;
const LENGTH = 120;

const POINTS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'];

/** The card of the chosen entity. */
export class Details {
  readonly #card = element('details');
  readonly #name = element('details-name');
  readonly #type = element('details-type');
  readonly #facts = element<HTMLDListElement>('facts');
  readonly #follow = element<HTMLButtonElement>('follow');
  readonly #shape = glyph();
  readonly #values = new Map<string, HTMLElement>();

  /**
   * @param follow Called when the user toggles following.
   * @param close Called when the user closes the card.
   */
  constructor(follow: () => void, close: () => void) {
    element('details-glyph').append(this.#shape);
    this.#follow.addEventListener('click', follow);
    element('close').addEventListener('click', close);
  }

  hide(): void {
    this.#card.hidden = true;
  }

  /** Show an entity; `now` is a time of the server clock. */
  show({ id, type, location, at, mark }: Entity, now: number, staleAfter: number, followed: boolean): void {
    this.#card.hidden = false;
    setKind(this.#shape, mark.kind);
    write(this.#name, id);
    write(this.#type, type);
    const seconds = (now - at) / 1_000;
    const stale = seconds >= staleAfter;
    this.#card.classList.toggle('stale', stale);
    this.#follow.ariaPressed = String(followed);
    write(this.#follow, followed ? 'Following' : 'Follow');
    const { speed, heading, accuracy, altitude, latitude, longitude, metadata } = location;
    const facts: [string, string][] = [
      ['Age', seconds < 1 ? 'now' : `${ageText(seconds)} ago${stale ? ' · stale' : ''}`],
      ['Speed', speed === undefined ? '–' : `${Math.round(speed)} km/h`],
      ['Heading', heading === undefined ? '–' : `${Math.round(heading)}° ${POINTS[Math.round(heading / 45) % 8] ?? ''}`],
      ['Position', `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`],
    ];
    if (accuracy !== undefined) facts.push(['Accuracy', `± ${Math.round(accuracy)} m`]);
    if (altitude !== undefined) facts.push(['Altitude', `${Math.round(altitude)} m`]);
    for (const [key, value] of Object.entries(metadata ?? {}).slice(0, ENTRIES)) {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      facts.push([key.slice(0, LENGTH), text.slice(0, LENGTH)]);
    }
    this.#write(facts);
  }

  #write(facts: readonly [string, string][]): void {
    const names = facts.map(([name]) => name);
    if (names.join('\0') !== [...this.#values.keys()].join('\0')) {
      this.#values.clear();
      this.#facts.replaceChildren(
        ...names.flatMap((name) => {
          const value = make('dd');
          this.#values.set(name, value);
          return [make('dt', '', name), value];
        }),
      );
    }
    for (const [name, text] of facts) {
      const value = this.#values.get(name);
      if (value !== undefined) write(value, text);
    }
  }
}
