import type { Feature, Label, LabelSymbolizer, Layout } from 'protomaps-leaflet';

/** Pixels between two places of one name. */
const APART = 420;

/** Pixels of road that a name leaves free at either side. */
const MARGIN = 6;

/** How much shorter than the line the straight way between the ends of a name may be. */
const STRAIGHT = 0.965;

/** Longest step in pixels in search of a place. */
const STEP = 24;

/** Pixels between the boxes that a name occupies along its line. */
const BOX = 10;

type Geometry = Parameters<LabelSymbolizer['place']>[1];
type Points = Geometry[number];
type Spot = Points[number];

/** Writes names along lines, wherever a line is straight enough; the library asks for lines without any bend. */
export class LineName implements LabelSymbolizer {
  readonly #fill: string;
  readonly #halo: string;
  readonly #font: (zoom: number) => string;

  constructor({ fill, halo, font }: { fill: string; halo: string; font: (zoom: number) => string }) {
    this.#fill = fill;
    this.#halo = halo;
    this.#font = font;
  }

  place(layout: Layout, geometry: Geometry, { props }: Feature): Label[] | undefined {
    const name = props['name'];
    if (typeof name !== 'string' || name === '') return undefined;
    const font = this.#font(layout.zoom);
    layout.scratch.font = font;
    const width = layout.scratch.measureText(name).width + 2 * MARGIN;
    const draw = (dx: number, dy: number) => (context: CanvasRenderingContext2D) => {
      context.globalAlpha = 1;
      context.rotate(Math.atan2(dy, dx) + (dx < 0 ? Math.PI : 0)); // upright
      context.font = font;
      context.textAlign = 'center';
      context.textBaseline = 'middle';
      context.lineJoin = 'round';
      context.lineWidth = 3;
      context.strokeStyle = this.#halo;
      context.strokeText(name, 0, 0);
      context.fillStyle = this.#fill;
      context.fillText(name, 0, 0);
    };
    return geometry.flatMap((line) =>
      spots(line, width).map(([start, end]) => {
        const [dx, dy] = [end.x - start.x, end.y - start.y];
        const boxes = Math.ceil(width / BOX);
        return {
          anchor: start.add(end).mult(0.5),
          bboxes: Array.from({ length: boxes + 1 }, (_, box) => {
            const [x, y] = [start.x + (dx * box) / boxes, start.y + (dy * box) / boxes];
            return { minX: x - BOX, minY: y - BOX, maxX: x + BOX, maxY: y + BOX };
          }),
          draw: draw(dx, dy),
          deduplicationKey: name,
          deduplicationDistance: APART,
        };
      }),
    );
  }
}

/** Where a name of some width fits on a line: the ends of each place. */
function spots(line: Points, width: number): [Spot, Spot][] {
  const distances = [0];
  for (const [index, point] of line.entries()) {
    if (index > 0) distances.push((distances.at(-1) ?? 0) + point.dist(line[index - 1] ?? point));
  }
  const length = distances.at(-1) ?? 0;
  const room = length - width;
  if (room < 0) return [];
  const found: [Spot, Spot][] = [];
  const step = Math.max(4, Math.min(STEP, room / 4));
  // from the middle outwards, so that a name on a short street stands in its middle
  const tries = Math.floor(room / 2 / step);
  let taken: number[] = [];
  for (let n = 0; n <= 2 * tries; n += 1) {
    const at = room / 2 + (n % 2 === 0 ? 1 : -1) * Math.ceil(n / 2) * step;
    if (taken.some((other) => Math.abs(other - at) < width + APART)) continue;
    const [start, end] = [along(line, distances, at), along(line, distances, at + width)];
    if (start.dist(end) < STRAIGHT * width) continue;
    found.push([start, end]);
    taken = [...taken, at];
  }
  return found;
}

/** The point of a line at a distance from its start. */
function along(line: Points, distances: readonly number[], at: number): Spot {
  let index = 1;
  while (index < line.length - 1 && (distances[index] ?? 0) < at) index += 1;
  const [before, after] = [line[index - 1], line[index]];
  if (before === undefined || after === undefined) throw new Error('a line has two points');
  const [from, to] = [distances[index - 1] ?? 0, distances[index] ?? 0];
  const part = to > from ? (at - from) / (to - from) : 0;
  return before.mult(1 - part).add(after.mult(part));
}
