import { latLngBounds, type Map } from 'leaflet';

import { createMap, type MapOptions } from '../map/map.ts';
import { GLIDE, type Mark } from '../map/mark.ts';
import { Marks } from '../map/marks.ts';
import { toLatLng } from '../map/mercator.ts';
import { isStill } from '../map/motion.ts';
import { Trails } from '../map/trails.ts';
import { element } from '../dom.ts';

/** Lowest zoom for a followed entity. */
const CLOSE = 13;

/** Highest zoom when all entities are shown. */
const FAR = 13;

/** The map with its layers. */
export class Stage {
  readonly map: Map;
  readonly #trails = new Trails();
  readonly #marks = new Marks();
  #followed: Mark | undefined;

  /**
   * @param choose Called with a marker that was clicked.
   * @param released Called when the user drags the map away from the followed marker.
   */
  constructor(options: MapOptions, choose: (mark: Mark) => void, released: () => void) {
    this.map = createMap(element('map'), options);
    this.#trails.addTo(this.map);
    this.#marks.addTo(this.map);
    this.#marks.onChoice((mark) => {
      if (mark !== undefined) choose(mark);
    });
    this.map.on('dragstart', () => {
      if (this.#followed === undefined) return;
      this.#followed = undefined;
      released();
    });
    const trails = element<HTMLButtonElement>('trails');
    trails.addEventListener('click', () => {
      this.#trails.shown = !this.#trails.shown;
      trails.ariaPressed = String(this.#trails.shown);
      this.#trails.changed();
    });
  }

  /** Set the markers on the map. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks.show(marks);
    this.#trails.show(marks);
  }

  /** Draw markers that have faded. */
  faded(): void {
    this.#marks.changed();
  }

  /** Zoom so that all markers are visible. */
  fit(marks: Iterable<Mark>): void {
    const places = [...marks].map(({ place }) => toLatLng(place));
    if (places.length > 0) this.map.fitBounds(latLngBounds(places), { padding: [40, 40], maxZoom: FAR, animate: false });
  }

  /** Highlight a marker; `undefined`: none. */
  choose(mark: Mark | undefined): void {
    this.#marks.chosen = mark;
    this.#marks.changed();
  }

  /** Keep a marker in the centre; `undefined`: none. */
  follow(mark: Mark | undefined): void {
    this.#followed = mark;
    if (mark === undefined) return;
    this.map.setView(toLatLng(mark.place), Math.max(this.map.getZoom(), CLOSE), { animate: !isStill() });
  }

  /** Draw a marker that has been moved. */
  moved(mark: Mark): void {
    this.#marks.moved();
    this.#trails.keepUp(performance.now());
    if (mark !== this.#followed) return;
    this.map.panTo(toLatLng(mark.place), { animate: !isStill(), duration: GLIDE / 1_000, easeLinearity: 1 });
  }
}
