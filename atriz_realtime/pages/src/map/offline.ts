import { GridLayer, type Coords, type GridLayerOptions, type LatLngBounds } from 'leaflet';

import { latitudeAt, southOf } from './mercator.ts';
import { drawNames, loadNames, type Names } from './names.ts';
import { theme } from './theme.ts';
import { loadWorld, meet, trace, type Box, type World } from './world.ts';

/** From this zoom on, coasts are drawn in detail. */
const DETAILED = 7;

/** From this zoom on, nothing but the grid is drawn: coasts would be wrong by streets. */
const CLOSE = 12;

/** Milliseconds that a zoom must be shown before its file is loaded, so that none is loaded on the way to another. */
const PATIENCE = 350;

/** Pixels of a tile. */
const TILE = 256;

/** Possible distances between two grid lines, in degrees. */
const STEPS = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

/** Smallest distance between two meridians of the grid, in pixels. */
const MIN_SPACING = 170;

/** The part of the map that another layer draws. */
export interface Elsewhere {
  readonly bounds: LatLngBounds;
  readonly minZoom: number;
}

/** A map of the world that needs no tile server: land, borders, names, and, where there are no streets, a grid for orientation. */
export class OfflineMap extends GridLayer {
  readonly #files: string;
  readonly #elsewhere: Elsewhere | undefined;
  #coarse: World | undefined;
  #detailed: World | undefined;
  #names: Names | undefined;
  #asked = new Set<string>();

  /**
   * @param files The folder with the files of the map, each of which is loaded when a zoom needs it.
   * @param elsewhere What another layer draws; nothing is loaded for it.
   */
  constructor(files: string, elsewhere?: Elsewhere, options?: GridLayerOptions) {
    // the file says what the license of GeoNames asks for
    const attribution = `Natural Earth, <a href="${files}LICENSES.txt" target="_blank">GeoNames</a>`;
    super({ tileSize: TILE, updateWhenZooming: false, attribution, ...options });
    this.#files = files;
    this.#elsewhere = elsewhere;
  }

  override createTile(coords: Coords): HTMLElement {
    const canvas = document.createElement('canvas');
    if (this.#isElsewhere(coords)) return canvas;
    if (coords.z < CLOSE) {
      const detailed = coords.z >= DETAILED;
      const isNeeded = (zoom: number) => zoom < CLOSE && zoom >= DETAILED === detailed;
      this.#want(detailed ? 'world-10m.json' : 'world-50m.json', isNeeded, async (url) => {
        const world = await loadWorld(url);
        if (detailed) this.#detailed = world;
        else this.#coarse = world;
      });
      this.#want('names.json', (zoom) => zoom < CLOSE, async (url) => {
        this.#names = await loadNames(url);
      });
    }
    const world = coords.z >= DETAILED ? (this.#detailed ?? this.#coarse) : (this.#coarse ?? this.#detailed);
    const [shown, names] = coords.z < CLOSE ? [world, this.#names] : [];
    draw(canvas, coords, shown, names, this.#elsewhere === undefined);
    return canvas;
  }

  #isElsewhere(coords: Coords): boolean {
    if (this.#elsewhere === undefined || coords.z < this.#elsewhere.minZoom) return false;
    const scale = 2 ** coords.z;
    const [west, east] = [(coords.x / scale - 0.5) * 360, ((coords.x + 1) / scale - 0.5) * 360];
    const [north, south] = [latitudeAt(coords.y / scale), latitudeAt((coords.y + 1) / scale)];
    return this.#elsewhere.bounds.overlaps([
      [south, west],
      [north, east],
    ]);
  }

  /** Load a file, once, if the map still shows a zoom that needs it after a moment. */
  #want(file: string, isNeeded: (zoom: number) => boolean, load: (url: string) => Promise<void>): void {
    if (this.#asked.has(file)) return;
    this.#asked.add(file);
    setTimeout(() => {
      const zoom = (this._map as typeof this._map | null)?.getZoom(); // null once it is removed
      if (zoom === undefined || !isNeeded(zoom)) {
        this.#asked.delete(file);
        return;
      }
      load(`${this.#files}${file}`).then(
        () => this.redraw(),
        (error: unknown) => {
          this.#asked.delete(file);
          console.warn('no map', error); // the rest remains
        },
      );
    }, PATIENCE);
  }
}

function draw(
  canvas: HTMLCanvasElement,
  { x, y, z }: Coords,
  world: World | undefined,
  names: Names | undefined,
  hasGrid: boolean,
): void {
  const ratio = window.devicePixelRatio;
  canvas.width = canvas.height = Math.round(TILE * ratio);
  const context = canvas.getContext('2d');
  if (context === null) return;
  context.scale(canvas.width / TILE, canvas.width / TILE);
  const colours = theme();
  // without coasts, all is land: what is tracked is rarely at sea
  context.fillStyle = world === undefined ? colours.land : colours.sea;
  context.fillRect(0, 0, TILE, TILE);
  const scale = TILE * 2 ** z;
  const box = around({ west: x / 2 ** z, north: y / 2 ** z, east: (x + 1) / 2 ** z, south: (y + 1) / 2 ** z });
  context.save();
  context.translate((box.west * 2 ** z - x) * TILE, (box.north * 2 ** z - y) * TILE);
  if (world !== undefined) {
    const land = new Path2D();
    for (const course of world.land) if (meet(course.box, box)) trace(land, course, box, scale, true);
    context.fillStyle = colours.land;
    context.fill(land, 'evenodd');
    const borders = new Path2D();
    for (const course of world.borders) if (meet(course.box, box)) trace(borders, course, box, scale, false);
    context.strokeStyle = colours.border;
    context.stroke(borders);
    context.strokeStyle = colours.coast;
    context.stroke(land);
  }
  if (hasGrid) {
    context.strokeStyle = colours.grid;
    context.stroke(grid(box, scale));
  }
  context.restore();
  if (names !== undefined) drawNames(context, names, x * TILE, y * TILE, z);
}

/** A box slightly larger than a tile, so that the edges of clipped areas stay outside the tile. */
function around({ west, north, east, south }: Box): Box {
  const margin = (east - west) / 32;
  return { west: west - margin, north: north - margin, east: east + margin, south: south + margin };
}

function grid(box: Box, scale: number): Path2D {
  const path = new Path2D();
  const step = STEPS.findLast((degrees) => (degrees / 360) * scale >= MIN_SPACING) ?? 30;
  for (let line = Math.ceil(((box.west - 0.5) * 360) / step); line * step <= (box.east - 0.5) * 360; line += 1) {
    const x = ((line * step) / 360 + 0.5 - box.west) * scale;
    path.moveTo(x, 0);
    path.lineTo(x, (box.south - box.north) * scale);
  }
  const [top, bottom] = [latitudeAt(box.north), latitudeAt(box.south)];
  for (let line = Math.ceil(bottom / step); line * step <= top; line += 1) {
    const y = (southOf(line * step) - box.north) * scale;
    path.moveTo(0, y);
    path.lineTo((box.east - box.west) * scale, y);
  }
  return path;
}
