import { DomEvent, type LeafletEventHandlerFnMap, type LeafletMouseEvent, type Map } from 'leaflet';

import { Bubbles, radiusOf } from './bubbles.ts';
import type { View } from './canvas.ts';
import { Clusters, type Cluster, type Grouped } from './clusters.ts';
import { Labels } from './labels.ts';
import type { Mark } from './mark.ts';
import { drawRing, Marks, type MarkSpot, type Spot } from './marks.ts';

/** Most pixels between a click and the marker that it selects. */
const NEAR = 16;

/** Milliseconds for which frames are drawn while clusters wait to be made. */
const RETRY = 500;

/** A cluster on the map window. */
interface ClusterSpot extends Spot {
  readonly cluster: Cluster;
}

export interface CrowdListeners {
  /** A marker was clicked. */
  choose(mark: Mark): void;
  /** A cluster was clicked, or chosen with the keyboard. */
  open(cluster: Cluster): void;
}

/** A layer of many markers, with labels, and with clusters of those that are close to each other. */
export class Crowd extends Marks {
  readonly #listeners: CrowdListeners;
  readonly #clusters = new Clusters();
  readonly #bubbles = new Bubbles();
  readonly #labels = new Labels();
  #grouped: Grouped | undefined;
  #clusterSpots: readonly ClusterSpot[] = [];
  #hovered: Mark | undefined;

  constructor(listeners: CrowdListeners) {
    super();
    this.#listeners = listeners;
  }

  override get alone(): ReadonlySet<Mark> {
    return this.#grouped?.alone ?? this.marks;
  }

  protected override get apart(): readonly (Mark | undefined)[] {
    return [this.chosen, this.#hovered];
  }

  override show(marks: ReadonlySet<Mark>): void {
    super.show(marks);
    this.#rearrange();
  }

  /** Highlight a marker; `undefined`: none. */
  choose(mark: Mark | undefined): void {
    this.chosen = mark;
    this.#rearrange();
  }

  /** Highlight a marker to which the pointer points, here or in a list; `undefined`: none. */
  hover(mark: Mark | undefined): void {
    if (mark === this.#hovered) return;
    this.#hovered = mark;
    this.#labels.changed();
    this.changed();
  }

  /** Group markers that are close to each other, or do not. */
  setClusters(on: boolean): void {
    if (this.#clusters.enabled === on) return;
    this.#clusters.enabled = on;
    this.#rearrange();
  }

  #rearrange(): void {
    this.#clusters.changed();
    this.#labels.changed();
    this.changed();
  }

  override onAdd(map: Map): this {
    const box = map.getContainer();
    for (const event of ['focus', 'blur']) box.addEventListener(event, () => this.changed());
    return super.onAdd(map);
  }

  protected override handlers(): LeafletEventHandlerFnMap {
    return { ...super.handlers(), ...this.#handlers };
  }

  protected override restyled(): void {
    super.restyled();
    this.#bubbles.clear();
    this.#labels.clear();
  }

  protected override paint(context: CanvasRenderingContext2D, view: View, now: number): void {
    this.#grouped = this.#clusters.of(this.marks, this.apart, view.zoom, now);
    if (this.#clusters.isBehind) this.keepUp(now + RETRY);
    this.#drawClusters(context, view);
    super.paint(context, view, now);
    const hovered = this.spots.find(({ mark }) => mark === this.#hovered);
    if (hovered !== undefined && hovered.mark !== this.chosen) drawRing(context, hovered.x, hovered.y, hovered.reach + 5);
    this.#labels.draw(context, this.spots, this.apart, this.#clusterSpots, view, now);
  }

  #drawClusters(context: CanvasRenderingContext2D, view: View): void {
    const { scale, left, top } = view;
    this.#clusterSpots = (this.#grouped?.clusters ?? [])
      .map((cluster) => ({
        cluster,
        x: cluster.x * scale - left,
        y: cluster.y * scale - top,
        reach: radiusOf(cluster),
      }))
      .filter(({ x, y }) => this.isSeen(x, y, view));
    const focused = this.#focused;
    for (const spot of this.#clusterSpots) {
      const bubble = this.#bubbles.get(spot.cluster);
      const size = bubble.width / window.devicePixelRatio;
      context.drawImage(bubble, spot.x - size / 2, spot.y - size / 2, size, size);
      if (spot === focused) drawRing(context, spot.x, spot.y, spot.reach + 4);
    }
  }

  // -- pointer and keyboard -----------------------------------------------------------------------

  /** The marker or cluster at a point. */
  #nearest({ x, y }: { x: number; y: number }): MarkSpot | ClusterSpot | undefined {
    const inside = this.#clusterSpots.filter((spot) => Math.hypot(spot.x - x, spot.y - y) <= spot.reach);
    return closest(this.spots, x, y, NEAR) ?? closest(inside, x, y, Infinity);
  }

  /** The cluster that Enter opens: the one next to the middle, while the map has the focus of the keyboard. */
  get #focused(): ClusterSpot | undefined {
    if (!this._map.getContainer().matches(':focus-visible')) return undefined;
    const { x, y } = this._map.getSize().divideBy(2);
    return closest(this.#clusterSpots, x, y, Infinity);
  }

  readonly #handlers: LeafletEventHandlerFnMap = {
    click: (event: LeafletMouseEvent) => {
      DomEvent.stop(event);
      const found = this.#nearest(event.containerPoint);
      if (found === undefined) return;
      if ('cluster' in found) this.#listeners.open(found.cluster);
      else this.#listeners.choose(found.mark);
    },
    mousemove: ({ containerPoint }: LeafletMouseEvent) => {
      const found = this.#nearest(containerPoint);
      const container = this._map.getContainer();
      container.classList.toggle('points-at-mark', found !== undefined);
      container.title = found === undefined ? '' : 'cluster' in found ? contentsOf(found.cluster) : found.mark.label;
      this.hover(found === undefined || 'cluster' in found ? undefined : found.mark);
    },
    mouseout: () => this.hover(undefined),
    keydown: ({ originalEvent }) => {
      const focused = originalEvent.key === 'Enter' ? this.#focused : undefined;
      if (focused !== undefined) this.#listeners.open(focused.cluster);
    },
  };
}

/** What is closest to a point, and closer than a limit. */
function closest<T extends Spot>(spots: readonly T[], x: number, y: number, limit: number): T | undefined {
  let [found, least]: [T | undefined, number] = [undefined, limit];
  for (const spot of spots) {
    const distance = Math.hypot(spot.x - x, spot.y - y);
    if (distance < least) [found, least] = [spot, distance];
  }
  return found;
}

/** What is in a cluster, in words. */
export function contentsOf({ count, counts: { live, stale, offline } }: Cluster): string {
  const parts = [
    [live, 'live'],
    [stale, 'no news'],
    [offline, 'offline'],
  ] as const;
  const words = parts.filter(([number]) => number > 0).map(([number, word]) => `${number.toLocaleString()} ${word}`);
  return `${count.toLocaleString()} entities: ${words.join(', ')}`;
}
