import { CanvasLayer, seenAt, type View } from './canvas.ts';
import type { Mark } from './mark.ts';
import { colourOf } from './sprites.ts';

/** Points of all trails together: the more there are, the shorter each is. */
const POINTS = 24_000;

/** Where marks have been, drawn more rarely than the marks, as there is so much more of it. */
export class Trails extends CanvasLayer {
  protected override readonly interval = 1_000;
  /** Whether there are any. */
  shown = true;
  #marks: ReadonlySet<Mark> = new Set();

  constructor() {
    super('trails');
  }

  /** Show these. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks = marks;
    this.changed();
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    if (!this.shown) return;
    const points = Math.floor(POINTS / Math.max(1, this.#marks.size));
    const paths = new Map<number, Path2D>();
    for (const mark of this.#marks) {
      if (mark.opacity < 1) continue; // what is old has no tail
      const path = paths.get(mark.kind) ?? new Path2D();
      paths.set(mark.kind, path);
      trace(path, mark, points, view, now);
    }
    context.globalAlpha = 0.4;
    context.lineWidth = 1.5;
    context.lineJoin = 'bevel';
    for (const [kind, path] of paths) {
      context.strokeStyle = colourOf(kind);
      context.stroke(path);
    }
    context.globalAlpha = 1;
  }
}

/** Add a mark's trail to a path: its newest points, and where it is now. */
export function trace(path: Path2D, mark: Mark, points: number, view: View, now: number): void {
  const { trail } = mark;
  if (trail.length < 2) return;
  const end = seenAt(mark.at(now), view);
  path.moveTo(end.x, end.y);
  for (let index = trail.length - 2; index >= Math.max(0, trail.length - points); index -= 1) {
    const place = trail[index];
    if (place === undefined) return;
    path.lineTo(place.x * view.scale - view.left, place.y * view.scale - view.top);
  }
}
