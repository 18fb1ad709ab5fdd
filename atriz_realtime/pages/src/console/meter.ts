/** Milliseconds that are looked back at. */
const WINDOW = 5_000;

/** How many updates come, and how old they are when they do. */
export class Meter {
  /** When each came, and its lag, both in milliseconds; the oldest first. */
  #times: number[] = [];
  #lags: number[] = [];
  #since = performance.now();

  /** An update has come that is so many milliseconds old. */
  add(lag: number): void {
    this.#times.push(performance.now());
    this.#lags.push(lag);
  }

  /** Updates a second and their median lag in milliseconds, of the last seconds. */
  read(): { rate: number; lag: number | undefined } {
    const now = performance.now();
    const start = this.#times.findIndex((time) => time > now - WINDOW);
    const gone = start === -1 ? this.#times.length : start;
    this.#times.splice(0, gone);
    this.#lags.splice(0, gone);
    const seconds = Math.max(1_000, Math.min(WINDOW, now - this.#since)) / 1_000;
    const sorted = [...this.#lags].sort((one, other) => one - other);
    return { rate: this.#times.length / seconds, lag: sorted[Math.floor(sorted.length / 2)] };
  }
}
