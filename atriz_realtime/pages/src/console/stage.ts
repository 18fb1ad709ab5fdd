import { latLngBounds, point, type LatLng, type Map, type Point } from 'leaflet';

import { element } from '../dom.ts';
import type { Cluster } from '../map/clusters.ts';
import { contentsOf, Crowd } from '../map/crowd.ts';
import { createMap, type MapOptions } from '../map/map.ts';
import { GLIDE, type Mark } from '../map/mark.ts';
import { toLatLng } from '../map/mercator.ts';
import { isStill } from '../map/motion.ts';
import { Trails } from '../map/trails.ts';
import type { MapView } from './address.ts';

/** Lowest zoom for a followed entity. */
const CLOSE = 13;

/** Highest zoom when all entities are shown. */
const FAR = 13;

/** Lowest zoom, where the screen has room for the whole world at it. */
const LOWEST = 2;

/** Pixels of the world at zoom 0, and those around what is shown. */
const WORLD = 256;
const MARGIN = 40;

/** Highest zoom to which clusters open; from there on they are spread. */
const STREETS = 16;

export interface StageListeners {
  /** A marker was clicked. */
  choose(mark: Mark): void;
  /** The user has moved the map away from the followed marker. */
  released(): void;
  /** The user has moved the map. */
  moved(): void;
  /** Tell people who cannot see the map. */
  announce(text: string): void;
}

/** The map with its layers. */
export class Stage {
  readonly map: Map;
  readonly #box = element('map');
  readonly #trails = new Trails(() => this.#marks.alone);
  readonly #marks: Crowd;
  readonly #announce: (text: string) => void;
  #followed: Mark | undefined;
  /** Whether the page itself moves the map now, or until its animation ends. */
  #guided = false;
  #gliding = false;
  /** Whether the view is one that the user has set. */
  #own = false;

  constructor(options: MapOptions, { choose, released, moved, announce }: StageListeners) {
    this.#announce = announce;
    this.#marks = new Crowd({
      choose,
      open: (cluster) => {
        release();
        this.#open(cluster);
      },
    });
    this.map = createMap(this.#box, options);
    this.#limit();
    this.#trails.addTo(this.map);
    this.#marks.addTo(this.map);
    const release = () => {
      this.#gliding = false;
      if (this.#followed === undefined) return;
      this.#followed = undefined;
      released();
    };
    this.map.on('dragstart', release);
    this.map.on('keydown', ({ originalEvent }) => {
      if (originalEvent.key.startsWith('Arrow')) release();
    });
    this.map.on('moveend', () => {
      const own = !this.#guided && !this.#gliding && this.#followed === undefined;
      this.#gliding = false;
      if (!own) return;
      this.#own = true;
      moved();
    });
    const trails = element<HTMLButtonElement>('trails');
    trails.addEventListener('click', () => {
      this.#trails.shown = !this.#trails.shown;
      trails.ariaPressed = String(this.#trails.shown);
      this.#trails.changed();
    });
    new ResizeObserver(() => this.#resized()).observe(this.#box);
  }

  /** The view that the user has set, if it is not the page's. */
  get view(): MapView | undefined {
    if (!this.#own || this.#followed !== undefined) return undefined;
    const { lat, lng } = this.map.getCenter();
    return { latitude: lat, longitude: lng, zoom: this.map.getZoom() };
  }

  /** Set the view, as an address names it. */
  look({ latitude, longitude, zoom }: MapView): void {
    this.#followed = undefined;
    this.#guide(() => this.map.setView([latitude, longitude], zoom, { animate: false }));
    this.#own = true;
  }

  /** Set the markers on the map. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks.show(marks);
    this.#trails.changed();
  }

  /** Group markers that are close to each other, or do not. */
  setClusters(on: boolean): void {
    this.#marks.setClusters(on);
    this.#trails.changed();
  }

  /** Highlight a marker to which the pointer points in the list; `undefined`: none. */
  hover(mark: Mark | undefined): void {
    this.#marks.hover(mark);
  }

  /** Zoom so that all markers are visible. */
  fit(marks: Iterable<Mark>): void {
    const places = [...marks].map(({ place }) => toLatLng(place));
    if (places.length === 0) return;
    const { left, bottom } = this.#covered();
    this.#guide(() =>
      this.map.fitBounds(latLngBounds(places), {
        paddingTopLeft: [MARGIN + left, 56],
        paddingBottomRight: [MARGIN, MARGIN + bottom],
        maxZoom: FAR,
        animate: false,
      }),
    );
    this.#own = false;
  }

  /** Highlight a marker; `undefined`: none. */
  choose(mark: Mark | undefined): void {
    this.#marks.choose(mark);
  }

  /** Keep a marker in the middle of what the card leaves of the map; `undefined`: none. */
  follow(mark: Mark | undefined): void {
    this.#followed = mark;
    if (mark === undefined) return;
    this.#gliding = true;
    const zoom = Math.max(this.map.getZoom(), CLOSE);
    this.map.setView(this.#centreFor(mark, zoom), zoom, { animate: !isStill() });
  }

  /** Draw a marker that has been moved. */
  moved(mark: Mark): void {
    this.#marks.moved(mark);
    this.#trails.keepUp(performance.now());
    if (mark !== this.#followed) return;
    this.#gliding = true;
    const centre = this.#centreFor(mark, this.map.getZoom());
    this.map.panTo(centre, { animate: !isStill(), duration: GLIDE / 1_000, easeLinearity: 1 });
  }

  /** Show what is in a cluster: come closer, or spread what is at one place. */
  #open(cluster: Cluster): void {
    this.#announce(contentsOf(cluster));
    if (this.map.getZoom() >= STREETS) {
      this.#marks.spread(cluster);
      return;
    }
    const bounds = latLngBounds(cluster.marks.map(({ place }) => toLatLng(place)));
    const zoom = this.map.getBoundsZoom(bounds, false, point(80, 80));
    const closer = Math.max(this.map.getZoom() + 1, Math.min(zoom, STREETS));
    this.map.setView(bounds.getCenter(), closer, { animate: !isStill() });
  }

  /** The centre of the map that puts a marker in the middle of what is not covered. */
  #centreFor(mark: Mark, zoom: number): LatLng {
    const { left, bottom } = this.#covered();
    const place: Point = this.map.project(toLatLng(mark.place), zoom);
    return this.map.unproject(place.add(point(-left / 2, bottom / 2)), zoom);
  }

  /** Pixels of the map that the card covers, at the left or else at the bottom. */
  #covered(): { left: number; bottom: number } {
    const [map, card] = [this.#box.getBoundingClientRect(), element('details').getBoundingClientRect()];
    const isBeside = card.width === 0 || card.left >= map.right || card.right <= map.left;
    if (isBeside || card.top >= map.bottom || card.bottom <= map.top) return { left: 0, bottom: 0 };
    const narrow = card.width < map.width / 2;
    return narrow ? { left: card.right - map.left, bottom: 0 } : { left: 0, bottom: map.bottom - card.top };
  }

  /** Let the map show the whole world at once, also on a small screen. */
  #limit(): void {
    const side = Math.min(this.#box.clientWidth, this.#box.clientHeight) - 2 * MARGIN;
    this.map.setMinZoom(Math.max(0, Math.min(LOWEST, Math.floor(Math.log2(Math.max(1, side) / WORLD)))));
  }

  #guide(move: () => void): void {
    this.#guided = true;
    move();
    this.#guided = false;
  }

  #resized(): void {
    if (this.#box.clientHeight === 0) return; // hidden
    this.#guide(() => {
      this.#limit();
      this.map.invalidateSize({ animate: false, pan: true });
      if (this.#followed === undefined) return;
      this.map.setView(this.#centreFor(this.#followed, this.map.getZoom()), this.map.getZoom(), { animate: false });
    });
  }
}
