/** Differences below so many milliseconds are ignored: the server tells its time in whole seconds. */
const TOLERANCE = 2_000;

/** The clock of the server, by which positions are dated. */
export class Clock {
  #ahead = 0;

  /** Set the clock by the `Date` header of a response that has just arrived. */
  set(date: string | null): void {
    const ahead = Date.parse(date ?? '') - Date.now();
    if (!Number.isNaN(ahead)) this.#ahead = Math.abs(ahead) < TOLERANCE ? 0 : ahead;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return Date.now() + this.#ahead;
  }
}
