import { SHAPES } from './outlines.ts';

/** The colours of canvases, from `theme.css`. */
export interface Theme {
  readonly sea: string;
  readonly land: string;
  readonly coast: string;
  readonly border: string;
  readonly grid: string;
  /** The ground of towns, parks and buildings. */
  readonly built: string;
  readonly park: string;
  readonly building: string;
  readonly road: string;
  readonly roadCasing: string;
  readonly mainRoad: string;
  readonly highway: string;
  readonly highwayCasing: string;
  readonly railway: string;
  /** Names of countries, of cities, of streets, of water and of parks. */
  readonly country: string;
  readonly city: string;
  readonly street: string;
  readonly waterName: string;
  readonly parkName: string;
  /** The outline that separates markers from the map. */
  readonly halo: string;
  readonly surface: string;
  readonly text: string;
  /** What is offline, live and stale. */
  readonly muted: string;
  readonly good: string;
  readonly warn: string;
  readonly focus: string;
  /** One colour per kind of entity, which repeat. */
  readonly kinds: readonly string[];
}

const dark = matchMedia('(prefers-color-scheme: dark)');

let current: Theme | undefined;

dark.addEventListener('change', () => {
  current = undefined;
});

/** The colours for the light or dark scheme of the system. */
export function theme(): Theme {
  current ??= read();
  return current;
}

function read(): Theme {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    sea: colour('sea'),
    land: colour('land'),
    coast: colour('coast'),
    border: colour('border'),
    grid: colour('grid'),
    built: colour('built'),
    park: colour('park'),
    building: colour('building'),
    road: colour('road'),
    roadCasing: colour('road-casing'),
    mainRoad: colour('main-road'),
    highway: colour('highway'),
    highwayCasing: colour('highway-casing'),
    railway: colour('railway'),
    country: colour('country'),
    city: colour('city'),
    street: colour('street'),
    waterName: colour('water-name'),
    parkName: colour('park-name'),
    halo: colour('halo'),
    surface: colour('surface'),
    text: colour('ink'),
    muted: colour('muted'),
    good: colour('good'),
    warn: colour('warn'),
    focus: colour('focus'),
    kinds: SHAPES.map((_, kind) => colour(`kind-${kind}`)),
  };
}

/** Whether the system is set to dark. */
export function isDark(): boolean {
  return dark.matches;
}

/** Listen to changes of the colour scheme; returns a function that removes the listener. */
export function onTheme(listener: () => void): () => void {
  dark.addEventListener('change', listener);
  return () => dark.removeEventListener('change', listener);
}
