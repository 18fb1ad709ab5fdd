/** A worker of its own script: draws tiles of a PMTiles file with the library protomaps-leaflet, without Leaflet. */

import { Labelers, paint, PmtilesSource, TileCache, View, type PaintRule, type PreparedTile } from 'protomaps-leaflet';

import { labelRules, paintRules } from './style.ts';

import type { Theme } from './theme.ts';

/** Pixels of a tile. */
const TILE = 256;

/** Pixels around a tile in which features are painted, since lines are wide. */
const MARGIN = 16;

/** How many zooms a tile of the file lies below that of the map. */
const LEVELS = 1;

/** Pixels of a tile of the file. */
const DATA_TILE = TILE << LEVELS;

/** Tiles of which names are remembered. */
const LABELLED = 64;

/** The name of the only source. */
const SOURCE = '';

export interface Tile {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

export type Question =
  | { what: 'open'; url: string }
  | { what: 'draw'; number: number; tile: Tile; ratio: number; colours: Theme }
  | { what: 'forget'; number: number };

export type Answer =
  | { what: 'opened'; found: Opened }
  | { what: 'failed'; reason: string }
  | { what: 'drawn'; number: number; bitmap: ImageBitmap | undefined }
  | { what: 'stale'; tiles: readonly string[] };

/** What is known of a file. */
export interface Opened {
  /** West, south, east and north, in degrees. */
  readonly bounds: readonly [number, number, number, number];
  /** The lowest zoom of the map that the file has tiles for. */
  readonly minZoom: number;
  readonly attribution: string;
}

const scope = self as unknown as {
  addEventListener(type: 'message', listener: (event: MessageEvent<Question>) => void): void;
  postMessage(answer: Answer, transfer?: readonly Transferable[]): void;
};

let view: View | undefined;
const forgotten = new Set<number>();
/** The rules in the colours of the last tile; with new colours all names are placed again. */
let style: { colours: string; paint: PaintRule[]; labels: Labelers } | undefined;

scope.addEventListener('message', ({ data }) => {
  if (data.what === 'forget') forgotten.add(data.number);
  else if (data.what === 'draw') void answer(data);
  else {
    open(data.url).then(
      (found) => scope.postMessage({ what: 'opened', found }),
      (error: unknown) => scope.postMessage({ what: 'failed', reason: String(error) }),
    );
  }
});

async function open(url: string): Promise<Opened> {
  const source = new PmtilesSource(url, false);
  const header = await source.p.getHeader();
  const metadata = (await source.p.getMetadata()) as { attribution?: unknown };
  view = new View(new TileCache(source, DATA_TILE), header.maxZoom, LEVELS);
  return {
    bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat],
    minZoom: header.minZoom === 0 ? 0 : header.minZoom + LEVELS,
    attribution: typeof metadata.attribution === 'string' ? metadata.attribution : '',
  };
}

async function answer({ number, tile, ratio, colours }: Extract<Question, { what: 'draw' }>): Promise<void> {
  let bitmap: ImageBitmap | undefined;
  try {
    bitmap = await drawn(number, tile, ratio, colours);
  } catch (error) {
    console.warn('no tile', tile, error);
  }
  forgotten.delete(number);
  scope.postMessage({ what: 'drawn', number, bitmap }, bitmap === undefined ? [] : [bitmap]);
}

async function drawn(number: number, tile: Tile, ratio: number, colours: Theme): Promise<ImageBitmap | undefined> {
  const prepared = await view?.getDisplayTile(tile);
  if (prepared === undefined || prepared.data.size === 0 || forgotten.has(number)) return undefined;
  const side = Math.round(TILE * ratio);
  const canvas = new OffscreenCanvas(side, side);
  // the library's types know the contexts of pages only
  const context = canvas.getContext('2d') as unknown as CanvasRenderingContext2D | null;
  if (context === null) return undefined;
  const { paint: rules, labels } = styled(colours);
  const tiles = new Map<string, PreparedTile[]>([[SOURCE, [prepared]]]);
  labels.add(tile.z, tiles);
  const origin = { x: TILE * tile.x, y: TILE * tile.y };
  context.setTransform(side / TILE, 0, 0, side / TILE, 0, 0);
  context.fillStyle = colours.sea;
  context.fillRect(0, 0, TILE, TILE);
  const box = {
    minX: origin.x - MARGIN,
    minY: origin.y - MARGIN,
    maxX: origin.x + TILE + MARGIN,
    maxY: origin.y + TILE + MARGIN,
  };
  paint(context, tile.z, tiles, labels.getIndex(tile.z) ?? null, rules, box, origin as never, false, '');
  return canvas.transferToImageBitmap();
}

function styled(colours: Theme): NonNullable<typeof style> {
  const key = JSON.stringify(colours);
  if (style?.colours !== key) {
    const scratch = new OffscreenCanvas(1, 1).getContext('2d') as unknown as CanvasRenderingContext2D;
    style = {
      colours: key,
      paint: paintRules(colours),
      labels: new Labelers(scratch, labelRules(colours), LABELLED, (tiles: Set<string>) => {
        scope.postMessage({ what: 'stale', tiles: [...tiles] });
      }),
    };
  }
  return style;
}
