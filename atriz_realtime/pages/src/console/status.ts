import type { Status } from '../../../frontend/dist/index.js';
import { element, write } from '../dom.ts';
import type { Meter } from './meter.ts';

const WORDS: Readonly<Record<Status, string>> = {
  connecting: 'Connecting',
  connected: 'Live',
  reconnecting: 'Reconnecting',
  refused: 'Sent away',
  closed: 'Signed out',
};

/** The bar with the connection status and traffic. */
export class StatusBar {
  readonly #bar = element('status');
  readonly #connection = element('connection');
  readonly #rate = element('rate');
  readonly #lag = element('lag');
  readonly #shown = element('shown');
  readonly #notice = element('notice');

  connection(status: Status): void {
    this.#bar.dataset['status'] = status;
    write(this.#connection, WORDS[status]);
  }

  traffic(meter: Meter, shown: number): void {
    const { rate, lag } = meter.read();
    write(this.#rate, rate >= 10 ? Math.round(rate).toLocaleString() : rate.toFixed(1));
    write(this.#lag, lag === undefined ? '–' : lagText(lag));
    write(this.#shown, shown.toLocaleString());
  }

  /** Show a problem; empty: none. */
  notice(text: string): void {
    write(this.#notice, text);
    this.#notice.hidden = text === '';
  }
}

function lagText(lag: number): string {
  return lag < 1_000 ? `${Math.max(0, Math.round(lag))} ms` : `${(lag / 1_000).toFixed(1)} s`;
}
