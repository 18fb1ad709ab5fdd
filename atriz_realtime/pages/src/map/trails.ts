import { CanvasLayer, seenAt, type View } from './canvas.ts';
import type { Mark } from './mark.ts';
import type { Place } from './mercator.ts';
import { colourOf } from './sprites.ts';

/** Most points of all trails together: the more trails, the shorter each is. */
const POINTS = 12_000;

/** The layer of all trails; it is drawn less often than the markers, since it has far more points. */
export class Trails extends CanvasLayer {
  protected override get interval(): number {
    return 1_000;
  }

  /** Whether trails are shown. */
  shown = true;
  readonly #marks: () => ReadonlySet<Mark>;

  /** @param marks The markers that have trails. */
  constructor(marks: () => ReadonlySet<Mark>) {
    super('trails');
    this.#marks = marks;
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    if (!this.shown) return;
    const seen = [...this.#marks()].filter((mark) => mark.freshness === 'live' && isNear(mark.place, view));
    const points = Math.floor(POINTS / Math.max(1, seen.length));
    const paths = new Map<number, Path2D>();
    for (const mark of seen) {
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

/** Whether a place is on the map window, or so close that a trail to it may be. */
function isNear({ x, y }: Place, { scale, left, top, width, height }: View): boolean {
  const [across, down] = [x * scale - left, y * scale - top];
  return across > -width && across < 2 * width && down > -height && down < 2 * height;
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
