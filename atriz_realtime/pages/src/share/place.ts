import type { Freshness } from '../freshness.ts';
import { createMap, type MapOptions } from '../map/map.ts';
import { Mark } from '../map/mark.ts';
import { Marks } from '../map/marks.ts';
import { isStill } from '../map/motion.ts';
import type { Destination } from '../destination.ts';
import { pinAt } from './pin.ts';
import type { Words } from './words.ts';

import { latLng, latLngBounds, point, type LatLng, type LatLngBounds, type Map, type Marker } from 'leaflet';

/** The initial zoom. */
const ZOOM = 15;

/**
 * Pixels around what is to be seen: room for the pin above its point, for its label and the attribution below, and for
 * the controls.
 */
const LEFT = 76;
const RIGHT = 124;
const ABOVE = 64;
const BELOW = 72;

/** Zoom levels that the map may be too far out before it comes closer. */
const SLACK = 1;

/** The map with a single marker, and a pin at its destination. */
export class Place {
  readonly #map: Map;
  readonly #marks = new Marks();
  readonly #words: Words;
  #mark: Mark | undefined;
  #at: LatLng | undefined;
  #pin: Marker | undefined;
  readonly #resizes = new ResizeObserver(() => this.#map.invalidateSize({ animate: false }));
  #following = true;
  #isPlaced = false;
  #listener: ((following: boolean) => void) | undefined;

  constructor(element: HTMLElement, name: string, options: MapOptions, words: Words) {
    this.#words = words;
    this.#map = createMap(element, { ...options, world: false });
    element.setAttribute('aria-label', words.map.replace('{name}', () => name));
    element.setAttribute('role', 'application');
    for (const [part, text] of [
      ['in', words.zoomIn],
      ['out', words.zoomOut],
    ] as const) {
      const button = element.querySelector<HTMLElement>(`.leaflet-control-zoom-${part}`);
      if (button === null) continue;
      button.title = text;
      button.setAttribute('aria-label', text);
    }
    this.#map.addLayer(this.#marks);
    // the card beside the map grows and shrinks with what it says
    this.#resizes.observe(element);
    this.#map.on('dragstart', () => this.#follow(false));
    this.#map.on('resize', () => {
      if (this.#following) this.#show(false);
    });
    this.#map.on('keydown', ({ originalEvent }) => {
      if (originalEvent.key.startsWith('Arrow')) this.#follow(false);
    });
  }

  /** Set the listener for whether the map follows the marker. */
  onFollow(listener: (following: boolean) => void): void {
    this.#listener = listener;
  }

  /** Keep the marker, and the pin if there is one, in view from now on. */
  follow(): void {
    this.#follow(true);
    this.#show(!isStill());
  }

  /** Set the destination. */
  lead(destination: Destination): void {
    this.#pin?.remove();
    this.#pin = pinAt(destination, this.#words.destination).addTo(this.#map);
    this.#turn();
    if (this.#following) this.#show(false);
  }

  /** Move the marker; the heading is in degrees clockwise from north. */
  move(latitude: number, longitude: number, heading: number | undefined): void {
    const first = this.#at === undefined;
    this.#at = latLng(latitude, longitude);
    this.#turn();
    if (this.#mark === undefined) {
      this.#mark = new Mark(0, '', latitude, longitude);
      this.#marks.show(new Set([this.#mark]));
      this.#marks.chosen = this.#mark;
    }
    this.#mark.heading = heading;
    this.#mark.move(latitude, longitude, performance.now());
    this.#marks.changed();
    this.#marks.moved(this.#mark);
    if (first) this.#show(false);
    else if (this.#following) this.#keepUp(this.#at);
  }

  /** Show how old the position is. */
  age(freshness: Freshness): void {
    if (this.#mark === undefined || this.#mark.freshness === freshness) return;
    this.#mark.freshness = freshness;
    this.#marks.changed();
  }

  /** Remove the map from the page. */
  remove(): void {
    this.#resizes.disconnect();
    this.#map.remove();
  }

  /** Follow a marker that has moved: alone in the centre; with a pin, as far as both stay in view. */
  #keepUp(at: LatLng): void {
    const both = this.#both();
    if (both === undefined) {
      this.#map.panTo(at, { animate: !isStill(), duration: 0.6, easeLinearity: 1 });
    } else if (!this.#shown().contains(both) || this.#zoomFor(both) > this.#map.getZoom() + SLACK) {
      this.#show(!isStill());
    }
  }

  /** Bring the pin and the view to the copy of the world where they are nearest to the marker. */
  #turn(): void {
    const [at, pin] = [this.#at, this.#pin];
    if (at === undefined) return;
    pin?.setLatLng(nearest(pin.getLatLng(), at));
    if (!this.#isPlaced) return;
    const centre = this.#map.getCenter();
    const nearer = nearest(centre, at);
    if (nearer !== centre) this.#map.setView(nearer, this.#map.getZoom(), { animate: false });
  }

  /** Show what there is. */
  #show(animate: boolean): void {
    const both = this.#both();
    const one = this.#at ?? this.#pin?.getLatLng();
    if (both !== undefined) {
      this.#map.fitBounds(both, {
        animate,
        maxZoom: ZOOM,
        paddingTopLeft: [LEFT, ABOVE],
        paddingBottomRight: [RIGHT, BELOW],
      });
    } else if (one !== undefined) {
      this.#map.setView(one, this.#isPlaced ? this.#map.getZoom() : ZOOM, { animate });
    }
    this.#isPlaced = one !== undefined;
  }

  /** The bounds of the marker and the pin, if there are both. */
  #both(): LatLngBounds | undefined {
    if (this.#at === undefined || this.#pin === undefined) return undefined;
    return latLngBounds([this.#at, this.#pin.getLatLng()]);
  }

  /** What can be seen without what is close to the edge. */
  #shown(): LatLngBounds {
    const { x, y } = this.#map.getSize();
    return latLngBounds(
      this.#map.containerPointToLatLng([LEFT / 2, ABOVE / 2]),
      this.#map.containerPointToLatLng([x - RIGHT / 2, y - BELOW / 2]),
    );
  }

  #zoomFor(bounds: LatLngBounds): number {
    return Math.min(ZOOM, this.#map.getBoundsZoom(bounds, false, point(LEFT + RIGHT, ABOVE + BELOW)));
  }

  #follow(following: boolean): void {
    if (this.#following === following) return;
    this.#following = following;
    this.#listener?.(following);
  }
}

/** A position in the copy of the world where it is nearest to another one. */
function nearest(position: LatLng, other: LatLng): LatLng {
  const worlds = Math.round((other.lng - position.lng) / 360);
  return worlds === 0 ? position : latLng(position.lat, position.lng + 360 * worlds);
}
