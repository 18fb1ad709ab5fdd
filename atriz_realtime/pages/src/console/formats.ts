import { ageText } from '../map/age.ts';
import type { Entity } from './fleet.ts';
import type { PreferenceStore } from './preferences.ts';

const MILES_PER_KM = 0.621_371;

/** Milliseconds. */
const DAY = 86_400_000;

/** A day or a time in the format of this year, and in that of others. */
type Dated = readonly [Intl.DateTimeFormat, Intl.DateTimeFormat];

/** Writes speeds and times as the user prefers them. */
export class Formats {
  readonly #preferences: PreferenceStore;
  #hours = time();
  #seconds = time();
  #years = time();
  #days: Dated = [time(), time()];
  #dates: Dated = [time(), time()];

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
    return this.#isToday(at, now) ? this.#hours.format(at) : this.#dated(this.#days, at, now);
  }

  /** A time to the minute, with the date if it is not today. */
  moment(at: number, now: number): string {
    return this.#isToday(at, now) ? this.#hours.format(at) : this.#dated(this.#dates, at, now);
  }

  /** A time to the second, or with the date if it is not today. */
  exact(at: number, now: number): string {
    return this.#isToday(at, now) ? this.#seconds.format(at) : this.#dated(this.#dates, at, now);
  }

  /** How old what one sees of an entity is, in words. */
  state({ freshness, at }: Entity, now: number): string {
    if (freshness === 'live') return 'Live';
    if (freshness === 'stale') return `No news for ${ageText((now - at) / 1_000)}`;
    return `Offline since ${now - at < DAY ? this.moment(at, now) : this.#dated(this.#days, at, now)}`;
  }

  #isToday(at: number, now: number): boolean {
    const [, days] = this.#days;
    return days.format(at) === days.format(now);
  }

  /** A time with the year, if it is not this one. */
  #dated([thisYear, others]: Dated, at: number, now: number): string {
    return (this.#years.format(at) === this.#years.format(now) ? thisYear : others).format(at);
  }

  #update(): void {
    const { zone } = this.#preferences.value;
    const minutes = { hour: 'numeric', minute: '2-digit' } as const;
    const day = { day: 'numeric', month: 'short' } as const;
    this.#hours = time(zone, minutes);
    this.#seconds = time(zone, { ...minutes, second: '2-digit' });
    const year = { year: 'numeric' } as const;
    this.#years = time(zone, year);
    this.#days = [time(zone, day), time(zone, { ...day, ...year })];
    this.#dates = [time(zone, { ...day, ...minutes }), time(zone, { ...day, ...year, ...minutes })];
  }
}

function time(zone = '', options: Intl.DateTimeFormatOptions = {}): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone || undefined });
}
