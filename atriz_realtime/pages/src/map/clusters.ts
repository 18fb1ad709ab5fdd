import Supercluster from 'supercluster';

import type { Freshness } from '../freshness.ts';
import type { Mark } from './mark.ts';
import { latitudeAt, southOf, type Place } from './mercator.ts';

/** Pixels within which markers are drawn as one cluster. */
const RADIUS = 46;

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
  /** The lowest zoom that shows what is in it. */
  readonly zoom: number;
}

/** What is drawn at a zoom. */
export interface Grouped {
  readonly clusters: readonly Cluster[];
  /** The markers that are in no cluster. */
  readonly alone: ReadonlySet<Mark>;
}

type Index = Supercluster<{ mark: Mark }, Counts>;

const WORLD: [number, number, number, number] = [-180, -90, 180, 90];

/** Groups markers that are close to each other; the work for it is limited, whatever their number. */
export class Clusters {
  /** Whether there are clusters. */
  enabled = true;
  #index: Index | undefined;
  #builtAt = -Infinity;
  /** Milliseconds that it took. */
  #cost = 0;
  #changed = true;
  #grouped: Grouped | undefined;
  #zoom = NaN;

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
      this.#index = this.#grouped = undefined; // they are made anew when they are needed
      return undefined;
    }
    const rest = Math.max(this.#changed ? 0 : PERIOD, PART * this.#cost);
    if (this.#index === undefined || now - this.#builtAt >= rest) this.#build(marks, apart, now);
    const level = Math.floor(zoom);
    if (this.#grouped === undefined || level !== this.#zoom) this.#grouped = this.#group(level);
    this.#zoom = level;
    return this.#grouped;
  }

  #build(marks: ReadonlySet<Mark>, apart: readonly (Mark | undefined)[], now: number): void {
    const begin = performance.now();
    this.#index = new Supercluster<{ mark: Mark }, Counts>({
      radius: RADIUS,
      extent: 256,
      maxZoom: LAST_ZOOM,
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
    this.#index.load(points as Parameters<Index['load']>[0]);
    this.#grouped = undefined;
    this.#changed = false;
    this.#builtAt = now;
    this.#cost = performance.now() - begin;
  }

  #group(zoom: number): Grouped {
    const index = this.#index;
    const clusters: Cluster[] = [];
    const alone = new Set<Mark>();
    for (const { geometry, properties } of index?.getClusters(WORLD, zoom) ?? []) {
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
        get zoom() {
          return index?.getClusterExpansionZoom(id) ?? LAST_ZOOM + 1;
        },
      });
    }
    return { clusters, alone };
  }
}
