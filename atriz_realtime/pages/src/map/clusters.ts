import Supercluster from 'supercluster';

import type { Freshness } from '../freshness.ts';
import { radiusOf } from './bubbles.ts';
import type { Mark } from './mark.ts';
import { latitudeAt, southOf, type Place } from './mercator.ts';

/** Pixels within which markers are drawn as one cluster. */
const RADIUS = 40;

/** Pixels within which markers cover each other: two that are further apart are no cluster. */
const COVERED = 24;

/** Pixels between two circles. */
const GAP = 4;

/** From this zoom on, streets tell markers apart, and only those that cover each other are one. */
const STREETS = 15;

/** Milliseconds after which clusters are made again from where the markers are by then. */
const PERIOD = 1_000;

/** Clusters take at most one part in so many of the time of the page. */
const PART = 25;

/** How many of each there are in a cluster. */
export type Counts = Record<Freshness, number>;

/** Markers that are drawn as one. */
export interface Cluster extends Place {
  readonly count: number;
  readonly counts: Readonly<Counts>;
  /** The markers in it. */
  readonly marks: Mark[];
}

/** What is drawn at a zoom. */
export interface Grouped {
  readonly clusters: readonly Cluster[];
  /** The markers that are in no cluster. */
  readonly alone: ReadonlySet<Mark>;
}

const WORLD: [number, number, number, number] = [-180, -90, 180, 90];

/** Groups markers that are close to each other; the work for it is limited, whatever their number. */
export class Clusters {
  /** Whether there are clusters. */
  enabled = true;
  #builtAt = -Infinity;
  /** Milliseconds that it took. */
  #cost = 0;
  #changed = true;
  #grouped: Grouped | undefined;
  #zoom = NaN;

  /** Whether there has not been time yet for the markers that are shown now. */
  get isBehind(): boolean {
    return this.#changed && this.#grouped !== undefined;
  }

  /** Other markers are shown: make clusters as soon as there is time for it. */
  changed(): void {
    this.#changed = true;
  }

  /**
   * The clusters and the other markers at a zoom; `undefined`: there are no clusters.
   *
   * @param apart Markers that are never in a cluster.
   */
  of(marks: ReadonlySet<Mark>, apart: ReadonlySet<Mark>, zoom: number, now: number): Grouped | undefined {
    if (!this.enabled) {
      this.#grouped = undefined; // they are made anew when they are needed
      return undefined;
    }
    const level = Math.floor(zoom);
    const rest = level === this.#zoom ? Math.max(this.#changed ? 0 : PERIOD, PART * this.#cost) : 0;
    if (this.#grouped !== undefined && now - this.#builtAt < rest) return this.#grouped;
    const begin = performance.now();
    this.#grouped = group(marks, apart, level);
    this.#changed = false;
    this.#zoom = level;
    this.#builtAt = now;
    this.#cost = performance.now() - begin;
    return this.#grouped;
  }
}

function group(marks: ReadonlySet<Mark>, apart: ReadonlySet<Mark>, zoom: number): Grouped {
  const index = new Supercluster<{ mark: Mark }, Counts>({
    radius: zoom < STREETS ? RADIUS : COVERED,
    extent: 256,
    // this zoom alone: all of them would take several times as long
    minZoom: zoom,
    maxZoom: zoom,
    map: ({ mark: { freshness } }) => ({ live: 0, stale: 0, offline: 0, [freshness]: 1 }),
    reduce: (sum, { live, stale, offline }) => {
      sum.live += live;
      sum.stale += stale;
      sum.offline += offline;
    },
  });
  const points = [];
  for (const mark of marks) {
    if (apart.has(mark)) continue;
    const { x, y } = mark.place;
    const coordinates = [(x - 0.5) * 360, latitudeAt(y)];
    points.push({ type: 'Feature', geometry: { type: 'Point', coordinates }, properties: { mark } } as const);
  }
  index.load(points);
  const clusters: Cluster[] = [];
  const alone = new Set<Mark>();
  const scale = 256 * 2 ** zoom;
  for (const { geometry, properties } of index.getClusters(WORLD, zoom)) {
    if ('mark' in properties) {
      alone.add(properties.mark);
      continue;
    }
    const [longitude = 0, latitude = 0] = geometry.coordinates;
    const { cluster_id: id, point_count: count, live, stale, offline } = properties;
    const marks = () => index.getLeaves(id, Infinity).map(({ properties: { mark } }) => mark);
    const [one, other] = count === 2 ? marks() : [];
    if (one && other && distance(one.place, other.place) * scale > COVERED) {
      alone.add(one).add(other);
      continue;
    }
    clusters.push({
      x: longitude / 360 + 0.5,
      y: southOf(latitude),
      count,
      counts: { live, stale, offline },
      get marks() {
        return marks();
      },
    });
  }
  return { clusters: withoutOverlap(clusters, scale), alone };
}

function distance(one: Place, other: Place): number {
  return Math.hypot(other.x - one.x, other.y - one.y);
}

/** The clusters, of which the larger take in those that their circles would touch. */
function withoutOverlap(clusters: readonly Cluster[], scale: number): Cluster[] {
  const kept: Cluster[] = [];
  for (const cluster of [...clusters].sort((one, other) => other.count - one.count)) {
    const index = kept.findIndex(
      (other) => distance(other, cluster) * scale < radiusOf(other) + radiusOf(cluster) + GAP,
    );
    const larger = kept[index];
    if (larger === undefined) kept.push(cluster);
    else kept[index] = merged(larger, cluster);
  }
  return kept;
}

function merged(larger: Cluster, smaller: Cluster): Cluster {
  const [one, other] = [larger.counts, smaller.counts];
  return {
    x: larger.x,
    y: larger.y,
    count: larger.count + smaller.count,
    counts: { live: one.live + other.live, stale: one.stale + other.stale, offline: one.offline + other.offline },
    get marks() {
      return [...larger.marks, ...smaller.marks];
    },
  };
}
