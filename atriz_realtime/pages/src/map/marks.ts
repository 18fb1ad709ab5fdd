import { DomEvent, type LeafletEventHandlerFnMap, type LeafletMouseEvent, type Point } from 'leaflet';

import { CanvasLayer, seenAt, viewOf, type View } from './canvas.ts';
import { GLIDE, type Mark } from './mark.ts';
import { colourOf, Sprites } from './sprites.ts';
import { theme } from './theme.ts';
import { trace } from './trails.ts';

/** Most pixels between a click and the marker that it selects. */
const NEAR = 16;

/** Labels are shown while at most so many markers are visible. */
const LABELS = 40;

/** Most characters of a label. */
const LABEL_LENGTH = 28;

const FONT = 'Inter, system-ui, sans-serif';

/** The layer of all markers. */
export class Marks extends CanvasLayer {
  protected override readonly interval = 33;
  /** The marker that is highlighted, with its whole trail. */
  chosen: Mark | undefined;
  #marks: ReadonlySet<Mark> = new Set();
  #chooses: ((mark: Mark | undefined) => void) | undefined;
  readonly #sprites = new Sprites();

  constructor() {
    super('marks');
  }

  /** Set the markers to show. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks = marks;
    this.changed();
  }

  /** Draw the animation of markers that have been moved. */
  moved(): void {
    this.keepUp(performance.now() + GLIDE + this.interval);
  }

  /** Set the listener for clicks; it gets the marker, or `undefined` for a click beside all. */
  onChoice(chooses: (mark: Mark | undefined) => void): void {
    this.#chooses = chooses;
  }

  protected override handlers(): LeafletEventHandlerFnMap {
    return { ...super.handlers(), click: this.#click, mousemove: this.#hover };
  }

  protected override restyled(): void {
    this.#sprites.clear();
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    const visible: { mark: Mark; x: number; y: number }[] = [];
    for (const mark of this.#marks) {
      const { x, y } = seenAt(mark.at(now), view);
      if (x > -NEAR && y > -NEAR && x < view.width + NEAR && y < view.height + NEAR) visible.push({ mark, x, y });
    }
    const size = sizeAt(view.zoom);
    const chosen = visible.find(({ mark }) => mark === this.chosen);
    for (const { mark, x, y } of visible) {
      if (mark === this.chosen) continue; // drawn last, above all others
      context.globalAlpha = mark.opacity;
      const sprite = this.#sprites.get(mark.kind, mark.heading, size);
      context.drawImage(sprite, x - size / 2, y - size / 2, size, size);
    }
    if (visible.length <= LABELS) {
      for (const { mark, x, y } of visible) if (mark !== this.chosen) drawLabel(context, mark, x, y);
    }
    if (chosen !== undefined) this.#drawChosen(context, chosen.mark, chosen.x, chosen.y, view, now);
    context.globalAlpha = 1;
  }

  #drawChosen(context: CanvasRenderingContext2D, mark: Mark, x: number, y: number, view: View, now: number): void {
    const colours = theme();
    const size = Math.round(sizeAt(view.zoom) * 1.25);
    const trail = new Path2D();
    trace(trail, mark, Infinity, view, now);
    context.globalAlpha = 0.8;
    context.strokeStyle = colourOf(mark.kind);
    context.lineWidth = 3;
    context.lineJoin = 'round';
    context.stroke(trail);
    context.globalAlpha = 1;
    context.beginPath();
    context.arc(x, y, size * 0.72, 0, 2 * Math.PI);
    context.lineWidth = 4;
    context.strokeStyle = colours.halo;
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = colours.focus;
    context.stroke();
    context.globalAlpha = Math.max(0.6, mark.opacity);
    context.drawImage(this.#sprites.get(mark.kind, mark.heading, size), x - size / 2, y - size / 2, size, size);
    drawLabel(context, mark, x, y, true);
  }

  // -- pointer ----------------------------------------------------------------------------------

  #nearest(at: Point): Mark | undefined {
    const [now, view] = [performance.now(), viewOf(this._map)];
    let [found, least]: [Mark | undefined, number] = [undefined, NEAR];
    for (const mark of this.#marks) {
      const distance = seenAt(mark.at(now), view).distanceTo(at);
      if (distance < least) [found, least] = [mark, distance];
    }
    return found;
  }

  readonly #click = (event: LeafletMouseEvent): void => {
    DomEvent.stop(event);
    this.#chooses?.(this.#nearest(event.containerPoint));
  };

  readonly #hover = ({ containerPoint }: LeafletMouseEvent): void => {
    const found = this.#nearest(containerPoint);
    const container = this._map.getContainer();
    container.title = found?.label ?? '';
    container.classList.toggle('points-at-mark', found !== undefined);
  };
}

/** Size of markers in pixels. */
function sizeAt(zoom: number): number {
  return zoom < 6 ? 14 : zoom < 9 ? 17 : zoom < 12 ? 20 : 24;
}

function drawLabel(context: CanvasRenderingContext2D, mark: Mark, x: number, y: number, strong = false): void {
  const { halo, text } = theme();
  const label = mark.label.length > LABEL_LENGTH ? `${mark.label.slice(0, LABEL_LENGTH - 1)}…` : mark.label;
  context.font = `${strong ? 600 : 500} 12px ${FONT}`;
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 3.5;
  context.strokeStyle = halo;
  context.fillStyle = text;
  context.globalAlpha = strong ? 1 : mark.opacity;
  const left = x + (strong ? 24 : 15);
  context.strokeText(label, left, y);
  context.fillText(label, left, y);
}
