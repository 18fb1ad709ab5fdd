import { filled, type Words } from './words.ts';

/** Regions whose roads have miles. */
const MILES = new Set(['US', 'GB', 'LR', 'MM']);

const METRES_PER_MILE = 1_609.344;
const METRES_PER_FOOT = 0.3048;

/** Writes numbers and times as the reader is used to. */
export class Formats {
  readonly #words: Words;
  readonly #locale: string;
  readonly #miles: boolean;

  /** @param language The language of the page; the reader's own variant of it decides about units and clocks. */
  constructor(words: Words, language: string, preferred: readonly string[] = navigator.languages) {
    this.#words = words;
    this.#locale = preferred.find((each) => each.split('-')[0] === language) ?? language;
    this.#miles = MILES.has(regionOf(this.#locale) ?? regionOf(preferred[0] ?? '') ?? '');
  }

  /** A time to the minute, with the date if it is not today. */
  time(at: number, now: number): string {
    const day = isToday(at, now) ? {} : ({ weekday: 'short', day: 'numeric', month: 'short' } as const);
    const options = { hour: 'numeric', minute: '2-digit', ...day } as const;
    const format = new Intl.DateTimeFormat(this.#locale, options);
    if (format.resolvedOptions().hour12) return format.format(at); // 2:05 PM
    return new Intl.DateTimeFormat(this.#locale, { ...options, hour: '2-digit' }).format(at); // 02:05
  }

  /** What happens or happened when: `Delivered at 14:32`. */
  moment(what: string, at: number, now: number): string {
    const words = this.#words;
    const text = !isToday(at, now) ? words.on : this.#isOne(at) ? words.atOne : words.at;
    return filled(text, { what, time: this.time(at, now) });
  }

  /** Since when there has been no news at all. */
  offlineSince(at: number, now: number): string {
    const { offlineSince, offlineSinceOne, offlineSinceDay } = this.#words;
    const text = !isToday(at, now) ? offlineSinceDay : this.#isOne(at) ? offlineSinceOne : offlineSince;
    return filled(text, { time: this.time(at, now) });
  }

  /** Whether the hour is one, which some languages count in the singular: `a la 1:05`. */
  #isOne(at: number): boolean {
    const parts = new Intl.DateTimeFormat(this.#locale, { hour: 'numeric', minute: '2-digit' }).formatToParts(at);
    return Number(parts.find(({ type }) => type === 'hour')?.value) === 1;
  }

  /** A length of time in its largest unit: `40 sec`, `3 min`, `2 hr`. */
  duration(milliseconds: number): string {
    const [value, unit] = inUnit(milliseconds);
    return this.#number({ style: 'unit', unit, unitDisplay: 'short' }).format(value);
  }

  /** How long ago something was. */
  ago(milliseconds: number): string {
    const [value, unit] = inUnit(milliseconds);
    return new Intl.RelativeTimeFormat(this.#locale).format(-value, unit);
  }

  /** A distance, rounded as far as it matters. */
  distance(metres: number): string {
    if (this.#miles) {
      return metres < METRES_PER_MILE / 10
        ? this.#length(steps(metres / METRES_PER_FOOT, 50), 'foot')
        : this.#length(metres / METRES_PER_MILE, 'mile');
    }
    return metres < 950 ? this.#length(steps(metres, 50), 'meter') : this.#length(metres / 1_000, 'kilometer');
  }

  /** A speed that is given in km/h. */
  speed(kilometres: number): string {
    const [value, unit] = this.#miles
      ? [(kilometres * 1_000) / METRES_PER_MILE, 'mile-per-hour']
      : [kilometres, 'kilometer-per-hour'];
    return this.#number({ style: 'unit', unit, maximumFractionDigits: 0 }).format(value);
  }

  /** A direction in words. */
  direction(degrees: number): string {
    return this.#words.compass[Math.round(degrees / 45) % 8] ?? '';
  }

  #length(value: number, unit: string): string {
    return this.#number({ style: 'unit', unit, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
  }

  #number(options: Intl.NumberFormatOptions): Intl.NumberFormat {
    return new Intl.NumberFormat(this.#locale, options);
  }
}

function regionOf(locale: string): string | undefined {
  try {
    return new Intl.Locale(locale).region;
  } catch {
    return undefined; // not a locale
  }
}

function isToday(at: number, now: number): boolean {
  return new Date(at).toDateString() === new Date(now).toDateString();
}

function inUnit(milliseconds: number): [number, 'second' | 'minute' | 'hour' | 'day'] {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  if (seconds < 60) return [seconds, 'second'];
  if (seconds < 3_600) return [Math.floor(seconds / 60), 'minute'];
  return seconds < 86_400 ? [Math.floor(seconds / 3_600), 'hour'] : [Math.floor(seconds / 86_400), 'day'];
}

function steps(value: number, step: number): number {
  return Math.max(step, Math.round(value / step) * step);
}
