import { latLngBounds, type Map } from 'leaflet';

import { createMap, type MapOptions } from '../map/map.ts';
import { GLIDE, type Mark } from '../map/mark.ts';
import { Marks } from '../map/marks.ts';
import { toLatLng } from '../map/mercator.ts';
import { isStill } from '../map/motion.ts';
import { Trails } from '../map/trails.ts';
import { element } from '../dom.ts';

/** The zoom that a followed entity is looked at from, at least. */
const CLOSE = 13;

/** The zoom that everything is looked at from, at most. */
const FAR = 13;

/** The map, and what is on it. */
export class Stage {
  readonly map: Map;
  readonly #trails = new Trails();
  readonly #marks = new Marks();
  #followed: Mark | undefined;

  /**
   * @param choose Called with a mark that was clicked on.
   * @param released Called when the map was dragged off the mark that it followed.
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

  /** Have these on the map. */
  show(marks: ReadonlySet<Mark>): void {
    this.#marks.show(marks);
    this.#trails.show(marks);
  }

  /** Marks have faded. */
  faded(): void {
    this.#marks.changed();
  }

  /** Show all of these at once. */
  fit(marks: Iterable<Mark>): void {
    const places = [...marks].map(({ place }) => toLatLng(place));
    if (places.length > 0) this.map.fitBounds(latLngBounds(places), { padding: [40, 40], maxZoom: FAR, animate: false });
  }

  /** Let one stand out; `undefined`: none. */
  choose(mark: Mark | undefined): void {
    this.#marks.chosen = mark;
    this.#marks.changed();
  }

  /** Keep one in the middle; `undefined`: none. */
  follow(mark: Mark | undefined): void {
    this.#followed = mark;
    if (mark === undefined) return;
    this.map.setView(toLatLng(mark.place), Math.max(this.map.getZoom(), CLOSE), { animate: !isStill() });
  }

  /** A mark has begun to move. */
  moved(mark: Mark): void {
    this.#marks.moved();
    this.#trails.keepUp(performance.now());
    if (mark !== this.#followed) return;
    this.map.panTo(toLatLng(mark.place), { animate: !isStill(), duration: GLIDE / 1_000, easeLinearity: 1 });
  }
}
