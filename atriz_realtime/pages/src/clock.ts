/** Milliseconds below which two clocks agree: the server's is told in whole seconds. */
const AGREEMENT = 2_000;

/** The server's time, which positions are dated by. */
export class Clock {
  #ahead = 0;

  /** Set it by the `Date` of an answer that came just now. */
  set(date: string | null): void {
    const ahead = Date.parse(date ?? '') - Date.now();
    if (!Number.isNaN(ahead)) this.#ahead = Math.abs(ahead) < AGREEMENT ? 0 : ahead;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return Date.now() + this.#ahead;
  }
}
