import { ageText } from '../map/age.ts';
import type { Entity } from './fleet.ts';
import type { PreferenceStore } from './preferences.ts';

const MILES_PER_KM = 0.621_371;

/** Milliseconds. */
const DAY = 86_400_000;

/** Writes speeds and times as the user prefers them. */
export class Formats {
  readonly #preferences: PreferenceStore;
  #hours = time();
  #seconds = time();
  #days = time();
  #dates = time();

  constructor(preferences: PreferenceStore) {
    this.#preferences = preferences;
    preferences.onChange(() => this.#update());
    this.#update();
  }

  /** A speed in km/h; empty when it is not known. */
  speed(kilometres: number | undefined): string {
    if (kilometres === undefined) return '';
    const { speed } = this.#preferences.value;
    return `${Math.round(speed === 'mph' ? kilometres * MILES_PER_KM : kilometres)} ${speed}`;
  }

  /** How long ago a position was reported, or when. */
  seen(at: number, now: number): string {
    if (this.#preferences.value.times === 'age') return ageText((now - at) / 1_000);
    return this.#since(at, now);
  }

  /** A time to the minute, with the date if it is not today. */
  moment(at: number, now: number): string {
    const today = this.#days.format(at) === this.#days.format(now);
    return (today ? this.#hours : this.#dates).format(at);
  }

  /** A time to the second, or with the date if it is not today. */
  exact(at: number, now: number): string {
    const today = this.#days.format(at) === this.#days.format(now);
    return (today ? this.#seconds : this.#dates).format(at);
  }

  /** How old what one sees of an entity is, in words. */
  state({ freshness, at }: Entity, now: number): string {
    if (freshness === 'live') return 'Live';
    if (freshness === 'stale') return `No news for ${ageText((now - at) / 1_000)}`;
    return `Offline since ${this.#since(at, now)}`;
  }

  /** A time within a day, or else the date. */
  #since(at: number, now: number): string {
    return (now - at < DAY ? this.#hours : this.#days).format(at);
  }

  #update(): void {
    const { zone } = this.#preferences.value;
    const minutes = { hour: 'numeric', minute: '2-digit' } as const;
    const day = { day: 'numeric', month: 'short' } as const;
    this.#hours = time(zone, minutes);
    this.#seconds = time(zone, { ...minutes, second: '2-digit' });
    this.#days = time(zone, day);
    this.#dates = time(zone, { ...day, ...minutes });
  }
}

function time(zone = '', options: Intl.DateTimeFormatOptions = {}): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone || undefined });
}
