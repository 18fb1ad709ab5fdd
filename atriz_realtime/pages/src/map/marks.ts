import { CanvasLayer, type View } from './canvas.ts';
import { GLIDE, type Mark } from './mark.ts';
import { isStill } from './motion.ts';
import { colourOf, Sprites } from './sprites.ts';
import { theme } from './theme.ts';
import { trace } from './trails.ts';

/** Pixels beyond the edge of the window within which something may still reach into it. */
const EDGE = 20;

/** Milliseconds between two frames while markers glide, and while what moves cannot be seen to. */
const GLIDING = 16;
const RESTING = 100;

/** Pixels that a marker moves at least to be seen gliding. */
const SEEN = 0.75;

/** Markers above which each frame is drawn only half as often. */
const MANY = 1_000;

/** Something on the map window, in pixels. */
export interface Spot {
  readonly x: number;
  readonly y: number;
  /** Half its width and height. */
  readonly reach: number;
}

/** A marker on the map window. */
export interface MarkSpot extends Spot {
  readonly mark: Mark;
}

/** A layer of markers. */
export class Marks extends CanvasLayer {
  /** The marker that is highlighted, with its whole trail. */
  chosen: Mark | undefined;
  /** The markers on the map window, as they were drawn last. */
  protected spots: readonly MarkSpot[] = [];
  readonly #sprites = new Sprites();
  #marks: ReadonlySet<Mark> = new Set();
  #glidesUntil = 0;
  #scale = 1;

  constructor() {
    super('marks');
  }

  protected override get interval(): number {
    if (performance.now() > this.#glidesUntil) return RESTING;
    return this.spots.length > MANY ? 2 * GLIDING : GLIDING;
  }

  /** The markers to show. */
  get marks(): ReadonlySet<Mark> {
    return this.#marks;
  }

  /** The markers that are drawn each for itself. */
  get alone(): ReadonlySet<Mark> {
    return this.#marks;
  }

  /** Set the markers to show. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks = marks;
    this.changed();
  }

  /** Draw a marker that has been moved. */
  moved(mark: Mark): void {
    const now = performance.now();
    const seen = mark.step * this.#scale >= SEEN && (this.alone.has(mark) || mark === this.chosen);
    if (seen && !isStill()) {
      this.#glidesUntil = Math.max(this.#glidesUntil, now + GLIDE + RESTING);
      this.keepUp(this.#glidesUntil);
    } else {
      this.keepUp(now + RESTING);
    }
  }

  protected override restyled(): void {
    this.#sprites.clear();
  }

  /** Whether something at a point of the window can be seen. */
  protected isSeen(x: number, y: number, { width, height }: View): boolean {
    return x > -EDGE && y > -EDGE && x < width + EDGE && y < height + EDGE;
  }

  /** Markers that are drawn though they are not {@link alone}. */
  protected get apart(): Iterable<Mark | undefined> {
    return [this.chosen];
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    this.#scale = view.scale;
    this.spots = this.#look(view, now);
    const size = sizeAt(view.zoom);
    let chosen: MarkSpot | undefined;
    // what is live is drawn above what is not, and what is chosen above all
    for (const live of [false, true]) {
      for (const spot of this.spots) {
        const { mark, x, y } = spot;
        if (mark === this.chosen) chosen = spot;
        else if ((mark.freshness === 'live') === live) {
          context.drawImage(this.#sprites.get(mark, size), x - size / 2, y - size / 2, size, size);
        }
      }
    }
    if (chosen !== undefined) this.#drawChosen(context, chosen, view, now);
  }

  /** Find the markers on the map window. */
  #look(view: View, now: number): MarkSpot[] {
    const { scale, left, top } = view;
    const reach = sizeAt(view.zoom) * 0.42;
    const spots: MarkSpot[] = [];
    const add = (mark: Mark) => {
      const place = mark.at(now);
      const [x, y] = [place.x * scale - left, place.y * scale - top];
      if (this.isSeen(x, y, view)) spots.push({ mark, x, y, reach: mark === this.chosen ? 2 * reach : reach });
    };
    const { alone } = this;
    for (const mark of alone) if (this.#marks.has(mark)) add(mark);
    for (const mark of new Set(this.apart)) if (mark !== undefined && this.#marks.has(mark) && !alone.has(mark)) add(mark);
    return spots;
  }

  #drawChosen(context: CanvasRenderingContext2D, { mark, x, y }: MarkSpot, view: View, now: number): void {
    const size = Math.round(sizeAt(view.zoom) * 1.25);
    const trail = new Path2D();
    trace(trail, mark, Infinity, view, now);
    context.globalAlpha = 0.8;
    context.strokeStyle = colourOf(mark.kind);
    context.lineWidth = 3;
    context.lineJoin = 'round';
    context.stroke(trail);
    context.globalAlpha = 1;
    drawRing(context, x, y, size * 0.72);
    context.drawImage(this.#sprites.get(mark, size), x - size / 2, y - size / 2, size, size);
  }
}

/** Size of markers in pixels. */
function sizeAt(zoom: number): number {
  return zoom < 6 ? 14 : zoom < 9 ? 17 : zoom < 12 ? 20 : 24;
}

/** Draw the ring around what is highlighted. */
export function drawRing(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  const { halo, focus } = theme();
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 4;
  context.strokeStyle = halo;
  context.stroke();
  context.lineWidth = 2;
  context.strokeStyle = focus;
  context.stroke();
}
