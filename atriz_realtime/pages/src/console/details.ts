import { readDestination } from '../destination.ts';
import { element, make, write } from '../dom.ts';
import { ageText } from '../map/age.ts';
import { glyph, setKind } from '../map/glyph.ts';
import { copies } from './clipboard.ts';
import { titleOf, type Entity } from './fleet.ts';
import type { Formats } from './formats.ts';
import { FIELDS } from './names.ts';
import type { Settings } from './settings.ts';

/** Most metadata entries that are shown, and most characters of each. */
const ENTRIES = 8;
const LENGTH = 120;

/** A time as metadata reports it, in ISO 8601 with a time zone. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d[\d:.]*(Z|[+-]\d\d:?\d\d)$/;

/** A value of an enumeration. */
const WORD = /^[a-z]+(_[a-z]+)+$/;

const POINTS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'];

export interface DetailsListeners {
  /** The user toggles following. */
  follow(): void;
  /** The user closes the card. */
  close(): void;
}

/** A position to copy and to read. */
export function positionOf({ latitude, longitude }: { latitude: number; longitude: number }): string {
  return `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
}

/** The card of the chosen entity. */
export class Details {
  readonly #settings: Settings;
  readonly #formats: Formats;
  readonly #card = element('details');
  readonly #name = element('details-name');
  readonly #type = element('details-type');
  readonly #state = element('details-state');
  readonly #facts = element<HTMLDListElement>('facts');
  readonly #follow = element<HTMLButtonElement>('follow');
  readonly #elsewhere = element<HTMLAnchorElement>('elsewhere');
  readonly #shape = glyph();
  readonly #values: HTMLElement[] = [];
  #labels = '';
  #position = '';

  constructor(settings: Settings, formats: Formats, { follow, close }: DetailsListeners) {
    this.#settings = settings;
    this.#formats = formats;
    element('details-glyph').append(this.#shape);
    this.#follow.addEventListener('click', follow);
    element('close').addEventListener('click', close);
    copies(element<HTMLButtonElement>('copy-position'), () => this.#position);
    this.#elsewhere.hidden = settings.externalMap === '';
    if (settings.externalMap !== '') {
      write(this.#elsewhere, `Open on ${new URL(settings.externalMap).hostname.replace(/^www\./, '')}`);
    }
  }

  /** Hide the card; the list takes the focus that it had. */
  hide(): void {
    if (this.#card.contains(document.activeElement)) element('list').focus();
    this.#card.hidden = true;
  }

  /** Show an entity; `now` is a time of the server clock. */
  show(entity: Entity, now: number, followed: boolean): void {
    const { id, type, location, mark, freshness } = entity;
    const title = titleOf(entity);
    this.#card.hidden = false;
    this.#card.dataset['state'] = freshness;
    setKind(this.#shape, mark.kind);
    write(this.#name, title);
    write(this.#type, title === id ? type : `${type} · ${id}`);
    write(this.#state, this.#formats.state(entity, now));
    this.#follow.ariaPressed = String(followed);
    write(this.#follow, followed ? 'Following' : 'Follow');
    this.#position = positionOf(location);
    this.#link(location.latitude, location.longitude);
    this.#write(this.#factsOf(entity, now));
  }

  /** Speed and heading are only what is true now, or what the speed was. */
  #factsOf({ location, names, destination, at, freshness }: Entity, now: number): [string, string][] {
    const { speed, heading, accuracy, altitude, metadata } = location;
    const { fields } = this.#settings;
    const place = readDestination(destination);
    const seconds = (now - at) / 1_000;
    const facts: [string, string][] = FIELDS.filter((field) => field !== 'name' && names[field] !== '').map((field) => [
      field.replace(/^./, (letter) => letter.toUpperCase()),
      names[field],
    ]);
    if (place !== undefined) facts.push(['Destination', place.label ?? positionOf(place)]);
    facts.push(['Seen', `${seconds < 1 ? 'now' : `${ageText(seconds)} ago`} · ${this.#formats.exact(at, now)}`]);
    if (speed !== undefined && freshness !== 'offline') {
      facts.push(['Speed', `${freshness === 'stale' ? 'was ' : ''}${this.#formats.speed(speed)}`]);
    }
    if (heading !== undefined && freshness === 'live') {
      facts.push(['Heading', `${Math.round(heading)}° ${POINTS[Math.round(heading / 45) % 8] ?? ''}`]);
    }
    facts.push(['Position', this.#position]);
    if (accuracy !== undefined) facts.push(['Accuracy', `± ${Math.round(accuracy)} m`]);
    if (altitude !== undefined) facts.push(['Altitude', `${Math.round(altitude)} m`]);
    const shown = new Set(Object.values(fields));
    const rest = Object.entries(metadata ?? {}).filter(([key]) => !shown.has(key));
    for (const [key, value] of rest.slice(0, ENTRIES)) {
      facts.push([key.slice(0, LENGTH), this.#textOf(value, now).slice(0, LENGTH)]);
    }
    return facts;
  }

  /** A value of the metadata: a time as the user prefers it, a word such as `on_the_way` with spaces, or as it is. */
  #textOf(value: unknown, now: number): string {
    if (typeof value !== 'string') return JSON.stringify(value);
    const at = TIME.test(value) ? Date.parse(value) : NaN;
    if (!Number.isNaN(at)) return this.#formats.moment(at, now);
    return WORD.test(value) ? value.replaceAll('_', ' ') : value;
  }

  #link(latitude: number, longitude: number): void {
    const { externalMap } = this.#settings;
    if (externalMap === '') return;
    const url = externalMap.replaceAll('{latitude}', String(latitude)).replaceAll('{longitude}', String(longitude));
    if (this.#elsewhere.href !== url) this.#elsewhere.href = url;
  }

  #write(facts: readonly [string, string][]): void {
    const labels = facts.map(([label]) => label).join('\0');
    if (labels !== this.#labels) {
      this.#labels = labels;
      this.#values.length = 0;
      this.#facts.replaceChildren(
        ...facts.flatMap(([label]) => {
          const value = make('dd');
          this.#values.push(value);
          return [make('dt', '', label), value];
        }),
      );
    }
    for (const [index, [, text]] of facts.entries()) {
      const value = this.#values[index]; // by its place: metadata may repeat a label
      if (value !== undefined) write(value, text);
    }
  }
}
