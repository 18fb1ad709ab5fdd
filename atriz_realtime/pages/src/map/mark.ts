import { toPlace, type Place } from './mercator.ts';
import { isStill } from './motion.ts';

/** Milliseconds that a marker takes to its new place: it glides, so that the eye can follow. */
export const GLIDE = 600;

/** Points of the longest trail. */
const TRAIL = 240;

/** Something that is shown on the map: where it is, where it was, and how it looks. */
export class Mark {
  /** Degrees clockwise from north; `undefined` when it is not known. */
  heading: number | undefined;
  /** How opaque it is, 0 to 1. */
  opacity = 1;
  /** Where it was, the newest last. */
  readonly trail: Place[] = [];
  #from: Place;
  #to: Place;
  #since = 0;

  /**
   * @param kind Counted from 0; it chooses shape and colour.
   * @param label What stands beside it when there is room.
   */
  constructor(
    readonly kind: number,
    readonly label: string,
    latitude: number,
    longitude: number,
  ) {
    this.#from = this.#to = toPlace(latitude, longitude);
    this.trail.push(this.#to);
  }

  /** It is somewhere else now. */
  move(latitude: number, longitude: number, now: number): void {
    const place = toPlace(latitude, longitude);
    if (place.x === this.#to.x && place.y === this.#to.y) return;
    this.#from = isStill() ? place : this.at(now);
    this.#to = place;
    this.#since = now;
    this.trail.push(place);
    if (this.trail.length > TRAIL) this.trail.shift();
  }

  /** Where it was last reported. */
  get place(): Place {
    return this.#to;
  }

  /** Where it is shown at a moment, in milliseconds of `performance.now()`. */
  at(now: number): Place {
    const part = (now - this.#since) / GLIDE;
    if (part >= 1) return this.#to;
    const { x, y } = this.#from;
    return { x: x + (this.#to.x - x) * part, y: y + (this.#to.y - y) * part };
  }
}
