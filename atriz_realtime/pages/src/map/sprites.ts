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

  /**
   * A marker, centred on its canvas.
   *
   * @param kind Number from 0, which determines shape and colour.
   * @param heading Degrees clockwise from north.
   * @param size Pixels.
   */
  get(kind: number, heading: number | undefined, size: number): HTMLCanvasElement {
    const turn = heading === undefined ? undefined : Math.round((heading / 360) * TURNS) % TURNS;
    const key = `${kind} ${turn} ${size}`;
    let sprite = this.#drawn.get(key);
    if (sprite === undefined) {
      sprite = draw(kind, turn, size);
      this.#drawn.set(key, sprite);
    }
    return sprite;
  }
}

function draw(kind: number, turn: number | undefined, size: number): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = Math.ceil(size * window.devicePixelRatio);
  const context = canvas.getContext('2d');
  if (context === null) return canvas;
  const { halo } = theme();
  const scale = canvas.width / (2 * REACH + 2);
  context.setTransform(scale, 0, 0, scale, canvas.width / 2, canvas.height / 2);
  if (turn !== undefined) context.rotate((turn / TURNS) * 2 * Math.PI);
  const path = new Path2D(turn === undefined ? ROUND : shapeOf(kind));
  context.lineJoin = 'round';
  context.lineWidth = 3;
  context.strokeStyle = halo;
  context.stroke(path);
  context.fillStyle = colourOf(kind);
  context.fill(path);
  return canvas;
}

/** The colour of a kind. */
export function colourOf(kind: number): string {
  const { kinds, text } = theme();
  return kinds[kind % kinds.length] ?? text;
}
