import { isColumn, type ColumnName } from './columns.ts';

/** How the user likes to see things. */
export interface Preferences {
  readonly speed: 'km/h' | 'mph';
  /** Whether lists show how old a position is, or its time. */
  readonly times: 'age' | 'clock';
  /** A name of the time zone database; empty: that of the device. */
  readonly zone: string;
  /** The columns of the list beside the name. */
  readonly columns: readonly ColumnName[];
  readonly sort: ColumnName;
  readonly descending: boolean;
  /** Whether the map groups what is close together. */
  readonly clusters: boolean;
}

const DEFAULTS: Preferences = {
  speed: 'km/h',
  times: 'age',
  zone: '',
  columns: ['speed', 'age'],
  sort: 'name',
  descending: false,
  clusters: true,
};

/** Local storage key. */
const KEY = 'atriz-realtime-preferences';

/** The preferences of this browser. */
export class PreferenceStore {
  #value: Preferences = load();
  readonly #listeners: (() => void)[] = [];

  get value(): Preferences {
    return this.#value;
  }

  /** Change some preferences, and remember them. */
  change(changed: Partial<Preferences>): void {
    this.#value = { ...this.#value, ...changed };
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#value));
    } catch {
      // a browser that stores nothing forgets them
    }
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

function load(): Preferences {
  let stored: Partial<Record<keyof Preferences, unknown>> = {};
  try {
    stored = (JSON.parse(localStorage.getItem(KEY) ?? '{}') as typeof stored | null) ?? {};
  } catch {
    // it stores nothing, or something else has written there
  }
  const { speed, times, zone, columns, sort, descending, clusters } = stored;
  return {
    speed: speed === 'mph' ? speed : DEFAULTS.speed,
    times: times === 'clock' ? times : DEFAULTS.times,
    zone: typeof zone === 'string' && isZone(zone) ? zone : DEFAULTS.zone,
    columns: Array.isArray(columns) ? columns.filter(isColumn) : DEFAULTS.columns,
    sort: isColumn(sort) ? sort : DEFAULTS.sort,
    descending: descending === true,
    clusters: clusters !== false,
  };
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat(undefined, { timeZone: zone || undefined });
    return true;
  } catch {
    return false;
  }
}
