import { SHAPES } from './outlines.ts';

/** What canvases are painted with, as `theme.css` has it. */
export interface Theme {
  readonly sea: string;
  readonly land: string;
  readonly coast: string;
  readonly border: string;
  readonly grid: string;
  /** The edge that sets a marker off from the map. */
  readonly halo: string;
  readonly text: string;
  readonly focus: string;
  /** One a kind of entity, in turn. */
  readonly kinds: readonly string[];
}

const dark = matchMedia('(prefers-color-scheme: dark)');

let current: Theme | undefined;

dark.addEventListener('change', () => {
  current = undefined;
});

/** The colours that the reader's system asks for. */
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
    halo: colour('halo'),
    text: colour('ink'),
    focus: colour('focus'),
    kinds: SHAPES.map((_, kind) => colour(`kind-${kind}`)),
  };
}

/** Hear when the system asks for others; returns what ends it. */
export function onTheme(listener: () => void): () => void {
  dark.addEventListener('change', listener);
  return () => dark.removeEventListener('change', listener);
}
