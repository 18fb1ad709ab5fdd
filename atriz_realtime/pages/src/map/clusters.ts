import Supercluster from 'supercluster';

import type { Freshness } from '../freshness.ts';
import type { Mark } from './mark.ts';
import { latitudeAt, southOf, type Place } from './mercator.ts';

/** Pixels within which markers are drawn as one cluster. */
const RADIUS = 52;

/** The highest zoom that has clusters: from the next on, streets tell the markers apart. */
const LAST_ZOOM = 14;

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
  of(marks: ReadonlySet<Mark>, apart: readonly (Mark | undefined)[], zoom: number, now: number): Grouped | undefined {
    if (!this.enabled || zoom > LAST_ZOOM) {
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

function group(marks: ReadonlySet<Mark>, apart: readonly (Mark | undefined)[], zoom: number): Grouped {
  const index = new Supercluster<{ mark: Mark }, Counts>({
    radius: RADIUS,
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
    if (apart.includes(mark)) continue;
    const { x, y } = mark.place;
    const coordinates = [(x - 0.5) * 360, latitudeAt(y)];
    points.push({ type: 'Feature', geometry: { type: 'Point', coordinates }, properties: { mark } } as const);
  }
  index.load(points);
  const clusters: Cluster[] = [];
  const alone = new Set<Mark>();
  for (const { geometry, properties } of index.getClusters(WORLD, zoom)) {
    if ('mark' in properties) {
      alone.add(properties.mark);
      continue;
    }
    const [longitude = 0, latitude = 0] = geometry.coordinates;
    const { cluster_id: id, point_count: count, live, stale, offline } = properties;
    clusters.push({
      x: longitude / 360 + 0.5,
      y: southOf(latitude),
      count,
      counts: { live, stale, offline },
      get marks() {
        return index.getLeaves(id, Infinity).map(({ properties: { mark } }) => mark);
      },
    });
  }
  return { clusters, alone };
}
