import { element, make, write } from '../dom.ts';
import type { Freshness } from '../freshness.ts';
import type { State } from './connection.ts';
import { distanceBetween, type Details } from './details.ts';
import type { Formats } from './formats.ts';
import type { Link } from './link.ts';
import { stepName, type Settings } from './settings.ts';
import { filled, wordFor } from './words.ts';

import type { Location } from '../../../frontend/dist/index.js';

/** Milliseconds up to which a position is from just now. */
const JUST_NOW = 2_000;

/** What the card shows; without a position there is no freshness. */
export interface Shown {
  readonly state: State;
  /** Milliseconds since the epoch, by the clock of the server. */
  readonly now: number;
  /** `undefined` until the server has accepted the link: before, anybody may have written it. */
  readonly details: Details | undefined;
  readonly position?: { readonly location: Location; readonly freshness: Freshness } | undefined;
}

/** What is said of the connection or, while there is one, of the position. */
type Kind = Exclude<State, 'connected' | 'ended'> | 'waiting' | Freshness;

/** The card with all that is not the map. */
export class Card {
  readonly #link: Link;
  readonly #settings: Settings;
  readonly #formats: Formats;
  readonly #facts = new Map<string, HTMLElement>();
  #kind: Kind | undefined;

  constructor(link: Link, settings: Settings, formats: Formats) {
    this.#link = link;
    this.#settings = settings;
    this.#formats = formats;
  }

  /** How the page names the entity. */
  nameOf({ name }: Details): string {
    return name ?? this.#link.id;
  }

  /** Show the newest state. */
  draw(shown: Shown): void {
    this.#drawState(shown);
    if (shown.details !== undefined) {
      this.#drawTitle(shown.details);
      this.#drawSteps(shown.details.status);
      this.#drawFacts(shown, shown.details);
    }
    write(element('end'), this.#formats.moment(this.#settings.words.ends, this.#link.endsAt, shown.now));
  }

  #drawState({ state, now, position }: Shown): void {
    const { words } = this.#settings;
    const at = position === undefined ? now : Date.parse(position.location.timestamp);
    const age = Math.max(0, now - at);
    const kind: Kind = state === 'ended' || state === 'connected' ? (position?.freshness ?? 'waiting') : state;
    const text = {
      connecting: () => words.connecting,
      reconnecting: () => words.reconnecting,
      origin_refused: () => words.notConnected,
      waiting: () => words.waiting,
      live: () => words.live,
      stale: () => filled(words.noNews, { duration: this.#formats.duration(age) }),
      offline: () => this.#formats.offlineSince(at, now),
    }[kind]();
    const target = element('state');
    target.dataset['state'] = kind;
    write(target, text);
    if (kind !== this.#kind) write(element('announcement'), text); // not each minute that passes
    this.#kind = kind;

    const isOld = position !== undefined && position.freshness !== 'live';
    let when = '';
    if (isOld) when = kind === 'offline' ? '' : this.#formats.moment(words.lastPosition, at, now);
    else if (position !== undefined) {
      when = age < JUST_NOW ? words.justNow : filled(words.updated, { ago: this.#formats.ago(age) });
    }
    write(element('age'), when);

    let note = '';
    if (kind === 'origin_refused') note = words.originRefused;
    else if (kind === 'waiting') note = words.noPosition;
    else if (kind === 'offline') note = words.lastKnown;
    write(element('note'), note);
    element('note').hidden = note === '';
  }

  #drawTitle(details: Details): void {
    const { type, id } = this.#link;
    const name = this.nameOf(details);
    const known = wordFor(this.#settings.words.types, type) ?? capitalized(type);
    const isStep = details.status !== undefined;
    const headline = isStep ? stepName(this.#settings, details.status) : name;
    const kind = details.name === undefined ? known : this.#settings.words.title;
    const kicker = isStep ? (details.name ?? `${known} ${id}`) : kind;
    write(element('headline'), headline);
    write(element('kicker'), kicker);
    document.title = `${isStep ? `${headline} – ` : ''}${name} – ${this.#settings.brand || this.#settings.words.title}`;
  }

  #drawSteps(status: string | undefined): void {
    const list = element('steps');
    const { steps, words } = this.#settings;
    list.hidden = status === undefined;
    if (status === undefined || list.dataset['status'] === status) return;
    list.dataset['status'] = status;
    const current = steps.indexOf(status);
    list.replaceChildren(
      ...steps.map((step, index) => {
        const item = make('li', index < current ? 'done' : index === current ? 'current' : '');
        item.append(make('span', '', stepName(this.#settings, step)));
        if (index < current) item.append(make('span', 'unseen', ` (${words.done})`));
        if (index === current) item.setAttribute('aria-current', 'step');
        return item;
      }),
    );
  }

  #drawFacts({ now, position }: Shown, details: Details): void {
    const { words } = this.#settings;
    const { eta, destination, driver, plate } = details;
    const isOffline = position?.freshness === 'offline';
    const expected = Date.parse(eta ?? '');
    this.#fact('eta', words.eta, expected > now && !isOffline ? this.#formats.time(expected, now) : '');
    const left = position !== undefined && !isOffline && destination !== undefined ? distanceBetween(position.location, destination) : undefined;
    this.#fact('distance', words.distance, left === undefined ? '' : this.#formats.distance(left), words.straight);
    this.#fact('destination', words.destination, destination?.label ?? '');
    this.#fact('driver', words.driver, driver ?? '');
    this.#fact('plate', words.plate, plate ?? '');
    const { speed, heading } = position?.freshness === 'live' ? position.location : {};
    const isMoving = heading !== undefined && Math.round(speed ?? 0) > 0;
    this.#fact(
      'speed',
      words.speed,
      speed === undefined ? '' : this.#formats.speed(speed),
      isMoving ? this.#formats.direction(heading) : '',
    );
    element('facts').hidden = [...this.#facts.values()].every(({ hidden }) => hidden);
  }

  /** Show a fact, with a hint below it, or hide it when it is empty. */
  #fact(name: string, label: string, value: string, hint = ''): void {
    let row = this.#facts.get(name);
    if (row === undefined) {
      row = make('div');
      row.id = `fact-${name}`;
      const text = make('dd');
      text.append(make('span', 'value'), ' ', make('small'));
      row.append(make('dt', '', label), text);
      this.#facts.set(name, row);
      element('facts').append(row);
    }
    row.hidden = value === '';
    for (const [selector, content] of [
      ['.value', value],
      ['small', hint],
    ] as const) {
      const target = row.querySelector<HTMLElement>(selector);
      if (target !== null) write(target, content);
    }
  }
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1).replaceAll(/[_-]/g, ' ');
}
