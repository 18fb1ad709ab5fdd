import { DomUtil, Layer, Point, type LeafletEventHandlerFnMap, type Map, type ZoomAnimEvent } from 'leaflet';

import type { Place } from './mercator.ts';
import { onTheme } from './theme.ts';

/** Width of the Web Mercator square at zoom 0, in pixels. */
const SQUARE = 256;

/** Maps places of the Web Mercator square to pixels of the map window. */
export interface View {
  readonly scale: number;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly zoom: number;
}

/** The current view of a map. */
export function viewOf(map: Map): View {
  const { x: width, y: height } = map.getSize();
  const { min } = map.getPixelBounds();
  const zoom = map.getZoom();
  return { scale: SQUARE * 2 ** zoom, left: min?.x ?? 0, top: min?.y ?? 0, width, height, zoom };
}

/** The pixel of a place. */
export function seenAt({ x, y }: Place, { scale, left, top }: View): Point {
  return new Point(x * scale - left, y * scale - top);
}

/** A canvas that covers the map window and moves with the map. */
export abstract class CanvasLayer extends Layer {
  /** Milliseconds between two frames, unless the map itself changes. */
  protected abstract get interval(): number;
  readonly #canvas = document.createElement('canvas');
  #endTheme: (() => void) | undefined;
  #frame = 0;
  #drawnAt = -Infinity;
  #forced = false;
  #until = 0;
  #zooming = false;

  /** @param name CSS class of the canvas. */
  constructor(name: string) {
    super();
    this.#canvas.className = `leaflet-zoom-animated ${name}`;
  }

  /** Draw with the next animation frame. */
  changed(): void {
    this.#forced = true;
    this.#schedule();
  }

  /** Keep drawing, one frame per interval, until a time of `performance.now()`. */
  keepUp(until: number): void {
    this.#until = Math.max(this.#until, until);
    this.#schedule();
  }

  override onAdd(map: Map): this {
    map.getPane('overlayPane')?.append(this.#canvas);
    map.on(this.handlers());
    this.#endTheme = onTheme(() => {
      this.restyled();
      this.changed();
    });
    this.#draw(performance.now());
    return this;
  }

  override onRemove(map: Map): this {
    map.off(this.handlers());
    this.#endTheme?.();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#canvas.remove();
    return this;
  }

  /** Draw on the cleared canvas. */
  protected abstract paint(context: CanvasRenderingContext2D, view: View, now: number): void;

  /** Called when the colours or the screen have changed. */
  protected restyled(): void {
    // layers that cache drawings override this
  }

  /** Handlers of map events; must be the same functions on each call. */
  protected handlers(): LeafletEventHandlerFnMap {
    return this.#handlers;
  }

  #schedule(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  #tick(now: number): void {
    this.#frame = 0;
    if (!this._map || this.#zooming) return; // the end of the zoom draws
    if (this.#forced || now - this.#drawnAt >= this.interval) this.#draw(now);
    if (now < this.#until) this.#schedule();
  }

  #draw(now: number): void {
    const canvas = this.#canvas;
    const view = viewOf(this._map);
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    DomUtil.setPosition(canvas, this._map.containerPointToLayerPoint([0, 0]));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      canvas.style.width = `${view.width}px`;
      canvas.style.height = `${view.height}px`;
      this.restyled();
    }
    this.#forced = false;
    this.#drawnAt = now;
    const context = canvas.getContext('2d');
    if (context === null) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    this.paint(context, view, now);
  }

  /** The map has stopped moving: draw within the same frame. */
  readonly #rested = (): void => {
    this.#zooming = false;
    this.#draw(performance.now());
  };

  /** The map animates a zoom: scale the canvas along with it. */
  readonly #zooms = ({ center, zoom }: ZoomAnimEvent): void => {
    this.#zooming = true;
    const map = this._map;
    const pane = map.getPane('mapPane');
    const shift = pane ? DomUtil.getPosition(pane) : new Point(0, 0);
    const origin = map.project(center, zoom).subtract(map.getSize().divideBy(2)).add(shift).round();
    const corner = map.project(map.containerPointToLatLng([0, 0]), zoom);
    DomUtil.setTransform(this.#canvas, corner.subtract(origin), map.getZoomScale(zoom, map.getZoom()));
  };

  readonly #handlers: LeafletEventHandlerFnMap = {
    move: () => this.changed(),
    moveend: this.#rested,
    resize: this.#rested,
    zoomend: this.#rested,
    zoomanim: this.#zooms,
  };
}
