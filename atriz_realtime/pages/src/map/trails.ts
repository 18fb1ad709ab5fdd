import { CanvasLayer, seenAt, type View } from './canvas.ts';
import type { Mark } from './mark.ts';
import { colourOf } from './sprites.ts';

/** Most points of all trails together: the more trails, the shorter each is. */
const POINTS = 24_000;

/** The layer of all trails; it is drawn less often than the markers, since it has far more points. */
export class Trails extends CanvasLayer {
  protected override readonly interval = 1_000;
  /** Whether trails are shown. */
  shown = true;
  #marks: ReadonlySet<Mark> = new Set();

  constructor() {
    super('trails');
  }

  /** Set the markers whose trails to show. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks = marks;
    this.changed();
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    if (!this.shown) return;
    const points = Math.floor(POINTS / Math.max(1, this.#marks.size));
    const paths = new Map<number, Path2D>();
    for (const mark of this.#marks) {
      if (mark.opacity < 1) continue; // stale markers have no trail
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

/** Add the trail of a marker to a path: its current place and its newest points. */
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
