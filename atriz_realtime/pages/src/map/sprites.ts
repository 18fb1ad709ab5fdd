import type { Freshness } from '../freshness.ts';
import type { Mark } from './mark.ts';
import { REACH, ROUND, shapeOf } from './outlines.ts';
import { theme } from './theme.ts';

/** Number of distinct headings in a full turn. */
const TURNS = 48;

/** A cache of drawn markers. */
export class Sprites {
  readonly #drawn = new Map<string, HTMLCanvasElement>();

  /** Drop all drawings, when colours or the screen have changed. */
  clear(): void {
    this.#drawn.clear();
  }

  /** A marker of a size in pixels, centred on its canvas. */
  get({ kind, heading, freshness }: Mark, size: number): HTMLCanvasElement {
    const turn = heading === undefined ? undefined : Math.round((heading / 360) * TURNS) % TURNS;
    const key = `${kind} ${freshness === 'live' ? turn : freshness} ${size}`;
    let sprite = this.#drawn.get(key);
    if (sprite === undefined) {
      sprite = DRAW[freshness](kind, turn, size);
      this.#drawn.set(key, sprite);
    }
    return sprite;
  }
}

const DRAW: Readonly<Record<Freshness, (kind: number, turn: number | undefined, size: number) => HTMLCanvasElement>> = {
  /** The shape of its kind, turned to where it is heading; a disc when that is not known. */
  live: (kind, turn, size) =>
    canvasOf(size, (context) => {
      const { halo } = theme();
      if (turn !== undefined) context.rotate((turn / TURNS) * 2 * Math.PI);
      const path = new Path2D(turn === undefined ? ROUND : shapeOf(kind));
      context.lineJoin = 'round';
      context.lineWidth = 3;
      context.strokeStyle = halo;
      context.stroke(path);
      context.fillStyle = colourOf(kind);
      context.fill(path);
    }),
  /** A disc in a broken ring. */
  stale: (kind, _turn, size) =>
    canvasOf(size, (context) => {
      const { halo, warn } = theme();
      dot(context, 11, halo);
      dot(context, 5, colourOf(kind));
      ring(context, 8.5, 2.5, warn, [5.9, 3]);
    }),
  /** A small disc in a hollow ring. */
  offline: (kind, _turn, size) =>
    canvasOf(size, (context) => {
      const { halo, muted } = theme();
      dot(context, 10, halo);
      dot(context, 3, colourOf(kind));
      ring(context, 7.5, 2.5, muted, []);
    }),
};

/** A canvas of a size in pixels, on which shapes are drawn around 0, 0. */
function canvasOf(size: number, draw: (context: CanvasRenderingContext2D) => void): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = Math.ceil(size * window.devicePixelRatio);
  const context = canvas.getContext('2d');
  if (context === null) return canvas;
  const scale = canvas.width / (2 * REACH + 2);
  context.setTransform(scale, 0, 0, scale, canvas.width / 2, canvas.height / 2);
  draw(context);
  return canvas;
}

function dot(context: CanvasRenderingContext2D, radius: number, colour: string): void {
  context.beginPath();
  context.arc(0, 0, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
}

function ring(context: CanvasRenderingContext2D, radius: number, width: number, colour: string, dashes: number[]): void {
  context.beginPath();
  context.arc(0, 0, radius, 0, 2 * Math.PI);
  context.setLineDash(dashes);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}

/** The colour of a kind. */
export function colourOf(kind: number): string {
  const { kinds, text } = theme();
  return kinds[kind % kinds.length] ?? text;
}
