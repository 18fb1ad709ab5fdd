import { opacity } from '../map/age.ts';
import { createMap, type MapOptions } from '../map/map.ts';
import { Mark } from '../map/mark.ts';
import { Marks } from '../map/marks.ts';
import { isStill } from '../map/motion.ts';

import { latLng, type LatLng, type Map } from 'leaflet';

/** The initial zoom. */
const ZOOM = 15;

/** The map with a single marker. */
export class Place {
  readonly #map: Map;
  readonly #marks = new Marks();
  #mark: Mark | undefined;
  #at: LatLng | undefined;
  #following = true;
  #listener: ((following: boolean) => void) | undefined;

  constructor(
    element: HTMLElement,
    name: string,
    options: MapOptions,
  ) {
    this.#map = createMap(element, { ...options, world: false });
    element.setAttribute('aria-label', `Map with the position of ${name}`);
    element.setAttribute('role', 'application');
    this.#map.addLayer(this.#marks);
    this.#map.on('dragstart', () => this.#follow(false));
    this.#map.on('keydown', ({ originalEvent }) => {
      if (originalEvent.key.startsWith('Arrow')) this.#follow(false);
    });
  }

  /** Set the listener for whether the map follows the marker. */
  onFollow(listener: (following: boolean) => void): void {
    this.#listener = listener;
  }

  /** Keep the marker in the centre from now on. */
  follow(): void {
    this.#follow(true);
    if (this.#at !== undefined) this.#centre(this.#at);
  }

  /** Move the marker; the heading is in degrees clockwise from north. */
  move(latitude: number, longitude: number, heading: number | undefined): void {
    const first = this.#at === undefined;
    this.#at = latLng(latitude, longitude);
    if (this.#mark === undefined) {
      this.#mark = new Mark(0, '', latitude, longitude);
      this.#marks.show(new Set([this.#mark]));
      this.#marks.chosen = this.#mark;
    }
    this.#mark.heading = heading;
    this.#mark.move(latitude, longitude, performance.now());
    this.#marks.changed();
    this.#marks.moved();
    if (first) this.#map.setView(this.#at, ZOOM, { animate: false });
    else if (this.#following) this.#centre(this.#at);
  }

  /** Fade the marker by the age of its position. */
  fade(age: number, staleAfter: number): void {
    if (this.#mark === undefined) return;
    this.#mark.opacity = opacity(age, staleAfter);
    this.#marks.changed();
  }

  /** Remove the map from the page. */
  remove(): void {
    this.#map.remove();
  }

  #centre(at: LatLng): void {
    this.#map.panTo(at, { animate: !isStill(), duration: 0.6, easeLinearity: 1 });
  }

  #follow(following: boolean): void {
    if (this.#following === following) return;
    this.#following = following;
    this.#listener?.(following);
  }
}
