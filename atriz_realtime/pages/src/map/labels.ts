import type { View } from './canvas.ts';
import type { Mark } from './mark.ts';
import type { MarkSpot, Spot } from './marks.ts';
import { theme } from './theme.ts';

/** Most labels, and most markers for which a place is sought. */
const MOST = 120;

/** Milliseconds after which labels are placed again; until then each moves with its marker. */
const PERIOD = 500;

/** Pixels between labels, and between a label and a marker. */
const GAP = 2;

/** Pixels of a cell of the grid in which is looked for what a label would cover. */
const CELL = 64;

const HEIGHT = 16;

/** Most characters of a label. */
const LENGTH = 28;

/** Most drawings that are kept. */
const KEPT = 600;

const FONT = 'Inter, system-ui, sans-serif';

/** A box on the map window. */
interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Where a label is, seen from its marker. */
interface Placed {
  readonly side: number;
  readonly dx: number;
  readonly dy: number;
  readonly strong: boolean;
}

/** Labels beside markers, none of which covers another or a marker. */
export class Labels {
  readonly #drawn = new Map<string, HTMLCanvasElement>();
  #placed = new Map<Mark, Placed>();
  #placedAt = -Infinity;

  /** Drop all drawings, when colours or the screen have changed. */
  clear(): void {
    this.#drawn.clear();
    this.#placedAt = -Infinity;
  }

  /** Place labels with the next frame. */
  changed(): void {
    this.#placedAt = -Infinity;
  }

  /**
   * Draw the labels of markers.
   *
   * @param first Markers that have a label before all others, the most important first.
   * @param others What labels must not cover beside the markers.
   */
  draw(
    context: CanvasRenderingContext2D,
    spots: readonly MarkSpot[],
    first: readonly (Mark | undefined)[],
    others: readonly Spot[],
    { width }: View,
    now: number,
  ): void {
    if (now - this.#placedAt >= PERIOD) {
      this.#placedAt = now;
      this.#place(spots, first, others, width);
    }
    const ratio = window.devicePixelRatio;
    for (const { mark, x, y } of spots) {
      const placed = this.#placed.get(mark);
      if (placed === undefined) continue;
      const sprite = this.#sprite(mark, placed.strong);
      const [left, top] = [Math.round((x + placed.dx) * ratio) / ratio, Math.round((y + placed.dy) * ratio) / ratio];
      context.drawImage(sprite, left, top, sprite.width / ratio, sprite.height / ratio);
    }
  }

  #place(spots: readonly MarkSpot[], first: readonly (Mark | undefined)[], others: readonly Spot[], edge: number): void {
    const taken = new Grid();
    for (const spot of spots) taken.add(boxOf(spot));
    for (const spot of others) taken.add(boxOf(spot));
    const ratio = window.devicePixelRatio;
    const placed = new Map<Mark, Placed>();
    for (const { mark, x, y, reach } of this.#byPriority(spots, first)) {
      if (mark.label === '') continue;
      const strong = first.includes(mark);
      const width = this.#sprite(mark, strong).width / ratio;
      const near = (strong ? 1.5 : 1) * reach + GAP;
      const sides = [
        [near, -HEIGHT / 2],
        [-near - width, -HEIGHT / 2],
        [-width / 2, near],
        [-width / 2, -near - HEIGHT],
      ] as const;
      const before = this.#placed.get(mark)?.side ?? 0;
      // where it has been first, so that it does not jump
      for (const side of new Set([before, 0, 1, 2, 3])) {
        const [dx, dy] = sides[side] ?? sides[0];
        const box = { left: x + dx, top: y + dy, right: x + dx + width, bottom: y + dy + HEIGHT };
        const last = strong && side === 3; // what is chosen has a label in any case
        const fits = box.left >= 0 && box.right <= edge && taken.isFree(box);
        if (!last && !fits) continue;
        const [shown, there] = !fits ? [0, sides[0]] : [side, [dx, dy] as const];
        placed.set(mark, { side: shown, dx: there[0], dy: there[1], strong });
        taken.add({ left: x + there[0], top: y + there[1], right: x + there[0] + width, bottom: y + there[1] + HEIGHT });
        break;
      }
    }
    this.#placed = placed;
  }

  /** The markers in the order in which they get labels: within each state, those that have one keep it. */
  #byPriority(spots: readonly MarkSpot[], first: readonly (Mark | undefined)[]): MarkSpot[] {
    const ranks: MarkSpot[][] = Array.from({ length: first.length + 6 }, () => []);
    for (const spot of spots) {
      const { mark } = spot;
      const special = first.indexOf(mark);
      const state = { live: 0, stale: 2, offline: 4 }[mark.freshness] + (this.#placed.has(mark) ? 0 : 1);
      const rank = ranks[special === -1 ? first.length + state : special];
      if (rank !== undefined && rank.length < MOST) rank.push(spot);
    }
    return ranks.flat().slice(0, MOST);
  }

  #sprite({ label, freshness }: Mark, strong: boolean): HTMLCanvasElement {
    const key = `${strong ? 'strong' : freshness === 'live' ? 'live' : 'old'} ${label}`;
    let sprite = this.#drawn.get(key);
    if (sprite === undefined) {
      if (this.#drawn.size >= KEPT) this.#drawn.clear();
      this.#drawn.set(key, (sprite = drawn(label, strong, freshness === 'live')));
    }
    return sprite;
  }
}

/** Boxes, found by where they are. */
class Grid {
  readonly #cells = new Map<number, Box[]>();

  add(box: Box): void {
    for (const cell of cellsOf(box)) {
      const boxes = this.#cells.get(cell);
      if (boxes === undefined) this.#cells.set(cell, [box]);
      else boxes.push(box);
    }
  }

  isFree({ left, top, right, bottom }: Box): boolean {
    for (const cell of cellsOf({ left, top, right, bottom })) {
      for (const other of this.#cells.get(cell) ?? []) {
        const apart =
          other.left >= right + GAP || other.right <= left - GAP || other.top >= bottom + GAP || other.bottom <= top - GAP;
        if (!apart) return false;
      }
    }
    return true;
  }
}

function cellsOf({ left, top, right, bottom }: Box): number[] {
  const cells = [];
  for (let row = Math.floor((top - GAP) / CELL); row <= Math.floor((bottom + GAP) / CELL); row += 1) {
    for (let column = Math.floor((left - GAP) / CELL); column <= Math.floor((right + GAP) / CELL); column += 1) {
      cells.push(row * 0x10000 + column);
    }
  }
  return cells;
}

function boxOf({ x, y, reach }: Spot): Box {
  return { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach };
}

function drawn(name: string, strong: boolean, live: boolean): HTMLCanvasElement {
  const { halo, text, muted } = theme();
  const label = name.length > LENGTH ? `${name.slice(0, LENGTH - 1)}…` : name;
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  if (context === null) return canvas;
  const ratio = window.devicePixelRatio;
  const font = `${strong ? 650 : 500} 12px ${FONT}`;
  context.font = font;
  canvas.width = Math.ceil((context.measureText(label).width + 4) * ratio);
  canvas.height = Math.ceil(HEIGHT * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = font;
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 4;
  context.strokeStyle = halo;
  context.strokeText(label, 2, HEIGHT / 2);
  context.fillStyle = strong || live ? text : muted;
  context.fillText(label, 2, HEIGHT / 2);
  return canvas;
}
