import { toPlace } from './mercator.ts';
import { theme } from './theme.ts';

/** What a name is of. */
const COUNTRY = 0;

/** Pixels between two names. */
const GAP = 6;

/** Pixels of a cell of the grid in which names are looked up. */
const CELL = 256;

/** A name on the map, the more important first. */
interface Name {
  readonly text: string;
  /** On the Web Mercator square. */
  readonly x: number;
  readonly y: number;
  /** The lowest zoom that shows it. */
  readonly zoom: number;
  readonly kind: number;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** Names in a cell of a zoom, which do not overlap. */
type Placed = ReadonlyMap<number, readonly Name[]>;

/** The names of countries and cities, and where they fit. */
export interface Names {
  readonly all: readonly Name[];
  readonly placed: Map<number, Placed>;
}

/** An entry of the file: name, longitude, latitude, lowest zoom, kind. */
type Entry = [text: string, longitude: number, latitude: number, zoom: number, kind: number];

/** Fetch the names. */
export async function loadNames(url: string): Promise<Names> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) throw new Error('no canvas');
  const all = ((await response.json()) as Entry[]).map(([name, longitude, latitude, zoom, kind]) => {
    const text = kind === COUNTRY ? name.toUpperCase() : name;
    context.font = fontOf(kind);
    return { ...toPlace(latitude, longitude), text, zoom, kind, width: context.measureText(text).width, height: 12 };
  });
  return { all, placed: new Map() };
}

function fontOf(kind: number): string {
  return kind === COUNTRY ? '600 10px Inter, system-ui, sans-serif' : '500 11px Inter, system-ui, sans-serif';
}

/** Draw the names that reach into a tile, whose corner is given in pixels of the zoom. */
export function drawNames(context: CanvasRenderingContext2D, names: Names, left: number, top: number, zoom: number): void {
  let placed = names.placed.get(zoom);
  if (placed === undefined) names.placed.set(zoom, (placed = place(names.all, zoom)));
  const scale = CELL * 2 ** zoom;
  const colours = theme();
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 3;
  context.strokeStyle = colours.land;
  for (const { text, x, y, kind } of placed.get(cellOf(left, top)) ?? []) {
    context.font = fontOf(kind);
    context.fillStyle = kind === COUNTRY ? colours.country : colours.city;
    const at = [Math.round(x * scale - left), Math.round(y * scale - top)] as const;
    context.strokeText(text, ...at);
    context.fillText(text, ...at);
  }
}

function cellOf(x: number, y: number): number {
  return Math.floor(y / CELL) * 0x1000000 + Math.floor(x / CELL);
}

/** The names that fit on a zoom: each that overlaps no more important one. */
function place(all: readonly Name[], zoom: number): Placed {
  const cells = new Map<number, Name[]>();
  const scale = CELL * 2 ** zoom;
  for (const name of all) {
    if (name.zoom > zoom) continue;
    const [x, y] = [name.x * scale, name.y * scale];
    const [halfWidth, halfHeight] = [name.width / 2 + GAP, name.height / 2 + GAP];
    const keys = new Set(
      [y - halfHeight, y + halfHeight].flatMap((edge) => [x - halfWidth, x + halfWidth].map((side) => cellOf(side, edge))),
    );
    const isFree = [...keys].every((key) =>
      (cells.get(key) ?? []).every(
        (other) =>
          Math.abs(other.x * scale - x) > (other.width + name.width) / 2 + GAP ||
          Math.abs(other.y * scale - y) > (other.height + name.height) / 2 + GAP,
      ),
    );
    if (!isFree) continue;
    for (const key of keys) {
      const cell = cells.get(key);
      if (cell === undefined) cells.set(key, [name]);
      else cell.push(name);
    }
  }
  return cells;
}
