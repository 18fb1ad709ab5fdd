import { GridLayer, type Coords, type GridLayerOptions } from 'leaflet';

import { latitudeAt, southOf } from './mercator.ts';
import { theme } from './theme.ts';
import { loadWorld, meet, trace, type Box, type World } from './world.ts';

/** From this zoom on, coasts are drawn in detail. */
const DETAILED = 5;

/** Pixels of a tile. */
const TILE = 256;

/** Possible distances between two grid lines, in degrees. */
const STEPS = [30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

/** Smallest distance between two meridians of the grid, in pixels. */
const MIN_SPACING = 170;

/** A map of the world that needs no tile server: land, borders, and a grid for orientation. */
export class Basemap extends GridLayer {
  readonly #files: string;
  #coarse: World | undefined;
  #detailed: World | undefined;
  #loading: Promise<void> | undefined;

  /** @param files The folder with `world-50m.json` and `world-10m.json`. */
  constructor(files: string, options?: GridLayerOptions) {
    super({ tileSize: TILE, updateWhenZooming: false, attribution: 'Natural Earth', ...options });
    this.#files = files;
  }

  /** Fetch the map; until then only the grid is drawn. */
  async load(): Promise<void> {
    this.#coarse = await loadWorld(`${this.#files}world-50m.json`);
    this.redraw();
  }

  async #loadDetailed(): Promise<void> {
    this.#detailed = await loadWorld(`${this.#files}world-10m.json`);
    this.redraw();
  }

  override createTile(coords: Coords): HTMLElement {
    if (coords.z >= DETAILED && this.#coarse !== undefined && this.#loading === undefined) {
      this.#loading = this.#loadDetailed().catch(() => undefined); // the coarse map remains
    }
    const world = coords.z >= DETAILED ? (this.#detailed ?? this.#coarse) : this.#coarse;
    return drawn(coords, world);
  }
}

function drawn({ x, y, z }: Coords, world: World | undefined): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  const ratio = window.devicePixelRatio;
  canvas.width = canvas.height = Math.round(TILE * ratio);
  const context = canvas.getContext('2d');
  if (context === null) return canvas;
  context.scale(canvas.width / TILE, canvas.width / TILE);
  const colours = theme();
  context.fillStyle = colours.sea;
  context.fillRect(0, 0, TILE, TILE);
  const scale = TILE * 2 ** z;
  const box = around({ west: x / 2 ** z, north: y / 2 ** z, east: (x + 1) / 2 ** z, south: (y + 1) / 2 ** z });
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
  context.strokeStyle = colours.grid;
  context.stroke(grid(box, scale));
  return canvas;
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
