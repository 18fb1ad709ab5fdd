/** Milliseconds over which is measured. */
const WINDOW = 5_000;

/** Milliseconds for which the lag of the last updates is remembered when none arrive. */
const MEMORY = 60_000;

/** Measures the rate of updates and their lag. */
export class Meter {
  /** Arrival times and lags of updates in milliseconds, the oldest first. */
  #times: number[] = [];
  #lags: number[] = [];
  #since = performance.now();
  #last: { lag: number; at: number } | undefined;

  /** Count an update that has arrived with a lag in milliseconds. */
  add(lag: number): void {
    this.#times.push(performance.now());
    this.#lags.push(lag);
  }

  /** Updates per second and their median lag in milliseconds. */
  read(): { rate: number; lag: number | undefined } {
    const now = performance.now();
    const start = this.#times.findIndex((time) => time > now - WINDOW);
    const gone = start === -1 ? this.#times.length : start;
    this.#times.splice(0, gone);
    this.#lags.splice(0, gone);
    const seconds = Math.max(1_000, Math.min(WINDOW, now - this.#since)) / 1_000;
    const sorted = Float64Array.from(this.#lags).sort();
    const median = sorted[Math.floor(sorted.length / 2)];
    if (median !== undefined) this.#last = { lag: median, at: now };
    else if (this.#last !== undefined && this.#last.at < now - MEMORY) this.#last = undefined;
    return { rate: this.#times.length / seconds, lag: this.#last?.lag };
  }
}
