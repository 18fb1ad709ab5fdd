import type { Cluster, Counts } from './clusters.ts';
import { theme } from './theme.ts';

/** Steps of a full ring. */
const STEPS = 24;

/** Most drawings that are kept. */
const KEPT = 400;

const FONT = 'Inter, system-ui, sans-serif';

/** The radius of a cluster in pixels. */
export function radiusOf({ count }: Cluster): number {
  return Math.round(12 + 3 * Math.log10(count));
}

/** A cache of drawn clusters. Their ring says what is in them. */
export class Bubbles {
  readonly #drawn = new Map<string, HTMLCanvasElement>();

  /** Drop all drawings, when colours or the screen have changed. */
  clear(): void {
    this.#drawn.clear();
  }

  /** A cluster, centred on its canvas. */
  get(cluster: Cluster): HTMLCanvasElement {
    const { count, counts } = cluster;
    const radius = radiusOf(cluster);
    const arcs = arcsOf(counts, count);
    const text = count < 1_000 ? String(count) : `${(count / 1_000).toFixed(count < 9_950 ? 1 : 0)}k`;
    const key = `${text} ${radius} ${arcs.join(' ')}`;
    let bubble = this.#drawn.get(key);
    if (bubble === undefined) {
      if (this.#drawn.size >= KEPT) this.#drawn.clear();
      this.#drawn.set(key, (bubble = draw(text, radius, arcs)));
    }
    return bubble;
  }
}

/** The steps of the ring that are live, stale and offline; what there is has at least one. */
function arcsOf({ live, stale, offline }: Counts, count: number): [number, number, number] {
  const steps = (part: number) => (part === 0 ? 0 : Math.max(1, Math.round((part / count) * STEPS)));
  const [waits, is] = [steps(stale), steps(offline)];
  if (live > 0) return [Math.max(1, STEPS - waits - is), waits, is];
  return waits > 0 ? [0, STEPS - is, is] : [0, 0, STEPS];
}

function draw(text: string, radius: number, [live, stale, offline]: readonly [number, number, number]): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  const ratio = window.devicePixelRatio;
  const half = radius + 2;
  canvas.width = canvas.height = Math.ceil(2 * half * ratio);
  const context = canvas.getContext('2d');
  if (context === null) return canvas;
  const { halo, surface, text: ink, good, warn, muted } = theme();
  context.setTransform(ratio, 0, 0, ratio, canvas.width / 2, canvas.height / 2);
  const disc = (size: number, colour: string) => {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(0, 0, size, 0, 2 * Math.PI);
    context.fill();
  };
  disc(half, halo);
  disc(radius, surface);
  let from = -0.25;
  // by its width as well, so that the colour alone need not tell: what is live is thick, what is offline thin
  for (const [steps, colour, width] of [
    [live, good, 4],
    [stale, warn, 3],
    [offline, muted, 2],
  ] as const) {
    if (steps === 0) continue;
    const to = from + steps / STEPS;
    const gap = steps === STEPS ? 0 : 0.008;
    context.beginPath();
    context.arc(0, 0, radius - width / 2, 2 * Math.PI * (from + gap), 2 * Math.PI * (to - gap));
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
    from = to;
  }
  context.font = `650 ${text.length > 3 ? 10 : 11.5}px ${FONT}`;
  context.textAlign = 'center';
  context.textBaseline = 'alphabetic';
  context.fillStyle = ink;
  const { actualBoundingBoxAscent: ascent } = context.measureText('0');
  context.fillText(text, 0, ascent / 2);
  return canvas;
}
