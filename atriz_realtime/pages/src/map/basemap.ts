import { GridLayer, latLngBounds, type Coords, type DoneCallback, type Map } from 'leaflet';

import { OfflineMap } from './offline.ts';
import { onTheme, theme } from './theme.ts';

import type { Answer, Opened, Question } from './streets.ts';

/** Pixels of a tile. */
const TILE = 256;

/** The zoom from which a file is drawn must be so high that its area is a tile wide. */
const DEGREES = 360;

/**
 * Draw the ground of a map: the streets of a PMTiles file where it has some, and the offline map elsewhere.
 *
 * @param files The folder of the pages' files.
 * @param basemap The URL of the PMTiles file; empty: there is none.
 * @param attribute Makes an attribution of a text.
 */
export function addBasemap(map: Map, files: string, basemap: string, attribute: (text: string) => string): void {
  if (basemap === '') {
    addOffline(map, new OfflineMap(files));
    return;
  }
  const streets = new Streets(new URL(`${files}streets.js`, location.href));
  let removed = false;
  map.once('unload', () => {
    removed = true;
    streets.close();
  });
  streets.open(new URL(basemap, location.href)).then(
    ({ bounds: [west, south, east, north], minZoom, attribution }) => {
      if (removed) return;
      const bounds = latLngBounds([south, west], [north, east]);
      const zoom = Math.max(minZoom, Math.ceil(Math.log2(DEGREES / Math.max(east - west, 1e-6))));
      addOffline(map, new OfflineMap(files, { bounds, minZoom: zoom }));
      const layer = new StreetsLayer(streets, {
        bounds,
        minZoom: zoom,
        tileSize: TILE,
        updateWhenZooming: false,
        keepBuffer: 1,
        attribution: attribute(attribution),
      }).addTo(map);
      onTheme(() => layer.redraw());
    },
    (error: unknown) => {
      console.warn('no streets', error);
      streets.close();
      if (!removed) addOffline(map, new OfflineMap(files));
    },
  );
}

function addOffline(map: Map, layer: OfflineMap): void {
  layer.setZIndex(0).addTo(map);
  onTheme(() => layer.redraw());
}

/** The worker that draws tiles, so that no frame of the page waits for one. */
class Streets {
  readonly #worker: Worker;
  readonly #waiting = new globalThis.Map<number, (bitmap: ImageBitmap | undefined) => void>();
  #opened: { resolve: (found: Opened) => void; reject: (reason: unknown) => void } | undefined;
  #number = 0;
  #stale: ((keys: readonly string[]) => void) | undefined;

  constructor(script: URL) {
    this.#worker = new Worker(script, { type: 'module' });
    this.#worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
      if (data.what === 'drawn') {
        this.#waiting.get(data.number)?.(data.bitmap);
        this.#waiting.delete(data.number);
      } else if (data.what === 'stale') this.#stale?.(data.tiles);
      else if (data.what === 'opened') this.#opened?.resolve(data.found);
      else this.#opened?.reject(data.reason);
    });
    this.#worker.addEventListener('error', (event) => this.#opened?.reject(event.message));
  }

  /** Open a file. */
  open(url: URL): Promise<Opened> {
    this.#ask({ what: 'open', url: url.href });
    return new Promise((resolve, reject) => {
      this.#opened = { resolve, reject };
    });
  }

  /** End the worker. */
  close(): void {
    this.#worker.terminate();
  }

  /** Draw a tile; `undefined`: the file has none there, or it is not wanted any more. */
  draw({ x, y, z }: Coords): { number: number; bitmap: Promise<ImageBitmap | undefined> } {
    const number = (this.#number += 1);
    this.#ask({ what: 'draw', number, tile: { x, y, z }, ratio: window.devicePixelRatio, colours: theme() });
    return { number, bitmap: new Promise((resolve) => this.#waiting.set(number, resolve)) };
  }

  /** Do not draw a tile that was asked for. */
  forget(number: number): void {
    if (this.#waiting.has(number)) this.#ask({ what: 'forget', number });
  }

  /** Listen for tiles, each as `x:y:z`, on which names have changed because of their neighbours. */
  onStale(listener: (keys: readonly string[]) => void): void {
    this.#stale = listener;
  }

  #ask(question: Question): void {
    this.#worker.postMessage(question);
  }
}

/** Tiles with streets. */
class StreetsLayer extends GridLayer {
  readonly #streets: Streets;
  readonly #tiles = new globalThis.Map<HTMLElement, { coords: Coords; number: number }>();

  constructor(streets: Streets, options: object) {
    super(options);
    this.#streets = streets;
    streets.onStale((keys) => {
      const stale = new Set(keys);
      for (const [canvas, { coords }] of this.#tiles) {
        if (stale.has(`${coords.x}:${coords.y}:${coords.z}`)) this.#draw(canvas as HTMLCanvasElement, coords);
      }
    });
    this.on('tileunload', ({ tile }) => {
      const found = this.#tiles.get(tile);
      if (found !== undefined) streets.forget(found.number);
      this.#tiles.delete(tile);
    });
  }

  override createTile(coords: Coords, done: DoneCallback): HTMLElement {
    const canvas = document.createElement('canvas');
    this.#draw(canvas, coords, () => done(undefined, canvas));
    return canvas;
  }

  #draw(canvas: HTMLCanvasElement, coords: Coords, done?: () => void): void {
    const { number, bitmap } = this.#streets.draw(coords);
    this.#tiles.set(canvas, { coords, number });
    void bitmap.then((drawn) => {
      if (drawn !== undefined && this.#tiles.get(canvas)?.number === number) {
        canvas.width = drawn.width;
        canvas.height = drawn.height;
        canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(drawn);
      } else drawn?.close();
      done?.();
    });
  }
}
