import { DomEvent, DomUtil, Layer, Point, type LeafletMouseEvent, type Map, type ZoomAnimEvent } from 'leaflet';

import type { Mark } from './mark.ts';
import type { Place } from './mercator.ts';
import { colourOf, Sprites } from './sprites.ts';
import { onTheme, theme } from './theme.ts';

/** Milliseconds between two pictures of marks that move by themselves. */
const FRAME = 33;

/** Pixels from a mark within which it is meant. */
const NEAR = 16;

/** Labels on the screen, at most. */
const LABELS = 40;

/** Characters of a label. */
const LABEL_LENGTH = 28;

const FONT = 'Inter, system-ui, sans-serif';

/** Points of all trails together, but for the chosen one's. */
const TRAIL_POINTS = 12_000;

/** Pixels of the square at zoom 0. */
const SQUARE = 256;

/** All marks on one canvas, which is drawn anew when something moves. */
export class Marks extends Layer {
  /** The one that stands out, with its whole trail. */
  chosen: Mark | undefined;
  /** Whether the others have trails as well. */
  trails = true;
  #marks: ReadonlySet<Mark> = new Set();
  #chooses: ((mark: Mark | undefined) => void) | undefined;
  readonly #canvas = document.createElement('canvas');
  readonly #sprites = new Sprites();
  #endTheme: (() => void) | undefined;
  #frame = 0;
  #drawnAt = -Infinity;
  #forced = true;
  #movingUntil = 0;
  #zooming = false;

  /** Show these; the set may change, with {@link changed} told. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks = marks;
    this.changed();
  }

  /** Hear which mark is clicked on; `undefined`: none. */
  onChoice(chooses: (mark: Mark | undefined) => void): void {
    this.#chooses = chooses;
  }

  /** Something is to be seen: draw at the next opportunity. */
  changed(): void {
    this.#forced = true;
    this.#schedule();
  }

  /** Marks have begun to move. */
  moved(): void {
    this.#movingUntil = performance.now() + 700;
    this.#schedule();
  }

  override onAdd(map: Map): this {
    DomUtil.addClass(this.#canvas, 'leaflet-zoom-animated marks');
    map.getPane('overlayPane')?.append(this.#canvas);
    map.on(this.#events);
    this.#endTheme = onTheme(() => {
      this.#sprites.clear();
      this.changed();
    });
    this.#redraw();
    return this;
  }

  override onRemove(map: Map): this {
    map.off(this.#events);
    this.#endTheme?.();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#canvas.remove();
    return this;
  }

  /** How many marks are on the screen. */
  inView(): number {
    const { x, y } = this._map.getSize();
    let count = 0;
    for (const mark of this.#marks) {
      const at = this.#pixels(mark.place);
      if (at.x >= 0 && at.y >= 0 && at.x <= x && at.y <= y) count += 1;
    }
    return count;
  }

  // -- on the screen ----------------------------------------------------------------------------

  #schedule(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  #tick(now: number): void {
    this.#frame = 0;
    if (this.#zooming) return; // it is drawn when the map has come to rest
    if (this.#forced || now - this.#drawnAt >= FRAME) this.#draw(now);
    if (now < this.#movingUntil) this.#schedule();
  }

  /** The map has moved under the marks: follow it within the same frame. */
  readonly #redraw = (): void => {
    this.#zooming = false;
    this.#draw(performance.now());
  };

  /** The map glides to another zoom, and the canvas with it. */
  readonly #zooms = ({ center, zoom }: ZoomAnimEvent): void => {
    const map = this._map;
    this.#zooming = true;
    const scale = map.getZoomScale(zoom, map.getZoom());
    const half = map.getSize().divideBy(2);
    const pane = map.getPane('mapPane');
    const shift = pane ? DomUtil.getPosition(pane) : new Point(0, 0);
    const origin = map.project(center, zoom).subtract(half).add(shift).round();
    const corner = map.containerPointToLatLng([0, 0]);
    DomUtil.setTransform(this.#canvas, map.project(corner, zoom).subtract(origin), scale);
  };

  /** Pixels of the map's container. */
  #pixels({ x, y }: Place): Point {
    const map = this._map;
    const scale = SQUARE * 2 ** map.getZoom();
    const { min } = map.getPixelBounds();
    return new Point(x * scale - (min?.x ?? 0), y * scale - (min?.y ?? 0));
  }

  #draw(now: number): void {
    const map = this._map;
    const size = map.getSize();
    const ratio = window.devicePixelRatio;
    const canvas = this.#canvas;
    DomUtil.setPosition(canvas, map.containerPointToLayerPoint([0, 0]));
    if (canvas.width !== Math.round(size.x * ratio) || canvas.height !== Math.round(size.y * ratio)) {
      canvas.width = Math.round(size.x * ratio);
      canvas.height = Math.round(size.y * ratio);
      canvas.style.width = `${size.x}px`;
      canvas.style.height = `${size.y}px`;
      this.#sprites.clear();
    }
    const context = canvas.getContext('2d');
    if (context === null) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.x, size.y);
    const scale = SQUARE * 2 ** map.getZoom();
    const { min } = map.getPixelBounds();
    const [left, top] = [min?.x ?? 0, min?.y ?? 0];
    this.#forced = false;
    this.#drawnAt = now;

    const visible: { mark: Mark; x: number; y: number }[] = [];
    for (const mark of this.#marks) {
      const place = mark.at(now);
      const [x, y] = [place.x * scale - left, place.y * scale - top];
      if (x > -NEAR && y > -NEAR && x < size.x + NEAR && y < size.y + NEAR) visible.push({ mark, x, y });
    }
    const toPixels = ({ x, y }: Place): [number, number] => [x * scale - left, y * scale - top];
    if (this.trails && visible.length > 0) {
      const points = Math.min(60, Math.floor(TRAIL_POINTS / visible.length));
      for (const { mark } of visible) drawTrail(context, mark, points, 1.5, 0.35, now, toPixels);
    }
    const { chosen } = this;
    if (chosen !== undefined && this.#marks.has(chosen)) {
      drawTrail(context, chosen, Infinity, 3, 0.8, now, toPixels);
    }
    const wide = sizeAt(map.getZoom());
    for (const { mark, x, y } of visible) {
      context.globalAlpha = mark.opacity;
      const sprite = this.#sprites.get(mark.kind, mark.heading, wide);
      context.drawImage(sprite, x - wide / 2, y - wide / 2, wide, wide);
    }
    context.globalAlpha = 1;
    if (visible.length <= LABELS) for (const { mark, x, y } of visible) drawLabel(context, mark, x, y);
    const found = visible.find(({ mark }) => mark === chosen);
    if (found !== undefined) this.#drawChosen(context, found.mark, found.x, found.y, wide);
  }

  #drawChosen(context: CanvasRenderingContext2D, mark: Mark, x: number, y: number, wide: number): void {
    const colours = theme();
    const large = Math.round(wide * 1.25);
    context.globalAlpha = 1;
    context.beginPath();
    context.arc(x, y, large * 0.72, 0, 2 * Math.PI);
    context.lineWidth = 4;
    context.strokeStyle = colours.halo;
    context.stroke();
    context.lineWidth = 2;
    context.strokeStyle = colours.focus;
    context.stroke();
    context.globalAlpha = Math.max(0.6, mark.opacity);
    context.drawImage(this.#sprites.get(mark.kind, mark.heading, large), x - large / 2, y - large / 2, large, large);
    context.globalAlpha = 1;
    drawLabel(context, mark, x, y, true);
  }

  // -- pointing at it ---------------------------------------------------------------------------

  #nearest(at: Point): Mark | undefined {
    const now = performance.now();
    let [found, least]: [Mark | undefined, number] = [undefined, NEAR];
    for (const mark of this.#marks) {
      const distance = this.#pixels(mark.at(now)).distanceTo(at);
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

  readonly #events = {
    move: this.#redraw,
    resize: this.#redraw,
    zoomend: this.#redraw,
    zoomanim: this.#zooms,
    click: this.#click,
    mousemove: this.#hover,
  };
}

/** Pixels of a mark. */
function sizeAt(zoom: number): number {
  return zoom < 6 ? 14 : zoom < 9 ? 17 : zoom < 12 ? 20 : 24;
}

function drawTrail(
  context: CanvasRenderingContext2D,
  mark: Mark,
  points: number,
  width: number,
  alpha: number,
  now: number,
  toPixels: (place: Place) => [number, number],
): void {
  const { trail } = mark;
  const first = Math.max(0, trail.length - points);
  if (trail.length - first < 2) return;
  context.globalAlpha = alpha * mark.opacity;
  context.strokeStyle = colourOf(mark.kind);
  context.lineWidth = width;
  context.lineJoin = context.lineCap = 'round';
  context.beginPath();
  for (let index = first; index < trail.length - 1; index += 1) {
    const place = trail[index];
    if (place !== undefined) context.lineTo(...toPixels(place));
  }
  context.lineTo(...toPixels(mark.at(now)));
  context.stroke();
  context.globalAlpha = 1;
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
  context.globalAlpha = 1;
}
