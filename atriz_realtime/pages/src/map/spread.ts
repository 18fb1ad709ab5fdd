import type { View } from './canvas.ts';
import type { Mark } from './mark.ts';
import type { Place } from './mercator.ts';
import { theme } from './theme.ts';

/** Pixels between rings, and between the markers of one. */
const APART = 34;

/** The widest ring that is the innermost one. */
const WIDEST = 3;

/** Pixels from the middle within which a marker belongs to its ring; one that has moved on is drawn where it is. */
const NEAR = 40;

/** Markers that are at the same place, drawn in rings around it, each with a line to where it is. */
export class Spread {
  readonly #middle: Place;
  readonly #offsets = new Map<Mark, readonly [number, number]>();

  constructor(middle: Place, marks: readonly Mark[]) {
    this.#middle = middle;
    const sorted = [...marks].sort((one, other) => one.label.localeCompare(other.label, undefined, { numeric: true }));
    // a few have one ring, outside which is room for their names
    const first = Math.min(WIDEST, Math.ceil(sorted.length / placesOf(1)));
    for (let ring = first; sorted.length > 0; ring += 1) {
      const some = sorted.splice(0, placesOf(ring));
      for (const [index, mark] of some.entries()) {
        const angle = 2 * Math.PI * (index / some.length);
        this.#offsets.set(mark, [APART * ring * Math.sin(angle), -APART * ring * Math.cos(angle)]);
      }
    }
  }

  get marks(): Iterable<Mark> {
    return this.#offsets.keys();
  }

  /** The pixel at which a marker is drawn; `undefined`: where it is. */
  at(mark: Mark, x: number, y: number, { scale, left, top }: View): readonly [number, number] | undefined {
    const offset = this.#offsets.get(mark);
    if (offset === undefined) return undefined;
    const [middleX, middleY] = [this.#middle.x * scale - left, this.#middle.y * scale - top];
    if (Math.hypot(x - middleX, y - middleY) > NEAR) return undefined;
    return [middleX + offset[0], middleY + offset[1]];
  }

  /** Draw the lines from some of the markers to where they are. */
  draw(context: CanvasRenderingContext2D, marks: ReadonlySet<Mark>, view: View, now: number): void {
    const lines = new Path2D();
    for (const mark of this.marks) {
      if (!marks.has(mark)) continue;
      const place = mark.at(now);
      const [x, y] = [place.x * view.scale - view.left, place.y * view.scale - view.top];
      const there = this.at(mark, x, y, view);
      if (there === undefined) continue;
      lines.moveTo(x, y);
      lines.lineTo(...there);
    }
    const { halo, muted } = theme();
    for (const [width, colour] of [
      [3.5, halo],
      [1.5, muted],
    ] as const) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke(lines);
    }
  }
}

/** How many markers have room on a ring. */
function placesOf(ring: number): number {
  return Math.floor(2 * Math.PI * ring);
}
