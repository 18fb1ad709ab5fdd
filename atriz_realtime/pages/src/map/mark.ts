import type { Freshness } from '../freshness.ts';
import { toPlace, type Place } from './mercator.ts';
import { isStill } from './motion.ts';

/** Milliseconds in which a marker glides to its new place. */
export const GLIDE = 600;

/** Most points of a trail. */
const TRAIL = 240;

/** A marker on the map, with its trail. */
export class Mark {
  /** Degrees clockwise from north; `undefined` when it is not known. */
  heading: number | undefined;
  /** What is not live has another shape. */
  freshness: Freshness = 'live';
  /** Its places so far, the newest last. */
  readonly trail: Place[] = [];
  /** How far it was moved last, in widths of the Web Mercator square. */
  step = 0;
  #from: Place;
  #to: Place;
  #since = 0;

  /**
   * @param kind Number from 0, which determines shape and colour.
   * @param label Text beside the marker, shown where there is room.
   */
  constructor(
    readonly kind: number,
    public label: string,
    latitude: number,
    longitude: number,
  ) {
    this.#from = this.#to = toPlace(latitude, longitude);
    this.trail.push(this.#to);
  }

  /** Move the marker. */
  move(latitude: number, longitude: number, now: number): void {
    const place = toPlace(latitude, longitude);
    this.#turn(Math.round(place.x - this.#to.x));
    if (place.x === this.#to.x && place.y === this.#to.y) return;
    this.step = Math.max(Math.abs(place.x - this.#to.x), Math.abs(place.y - this.#to.y));
    this.#from = isStill() ? place : this.at(now);
    this.#to = place;
    this.#since = now;
    this.trail.push(place);
    if (this.trail.length > TRAIL) this.trail.shift();
  }

  /** Shift where it was by whole worlds, so that the way to its new place is the shorter one. */
  #turn(worlds: number): void {
    if (worlds === 0) return;
    const shifted = ({ x, y }: Place): Place => ({ x: x + worlds, y });
    [this.#from, this.#to] = [shifted(this.#from), shifted(this.#to)];
    this.trail.splice(0, Infinity, ...this.trail.map(shifted));
  }

  /** The place it was last moved to. */
  get place(): Place {
    return this.#to;
  }

  /** The place where it is drawn at a time of `performance.now()`. */
  at(now: number): Place {
    const part = (now - this.#since) / GLIDE;
    if (part >= 1) return this.#to;
    const { x, y } = this.#from;
    return { x: x + (this.#to.x - x) * part, y: y + (this.#to.y - y) * part };
  }
}
