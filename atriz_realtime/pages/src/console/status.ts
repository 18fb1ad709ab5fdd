import type { Status } from '../../../frontend/dist/index.js';
import { element, write } from '../dom.ts';
import { DELAYED } from '../freshness.ts';
import { ageText } from '../map/age.ts';
import type { Meter } from './meter.ts';

const WORDS: Readonly<Record<Status, string>> = {
  connecting: 'Connecting',
  connected: 'Live',
  reconnecting: 'Reconnecting',
  refused: 'Not connected',
  closed: 'Signed out',
};

/** Tell people who cannot see the page. */
export function announce(text: string): void {
  write(element('announcement'), text);
}

/** The bar with the connection status and traffic. */
export class StatusBar {
  readonly #bar = element('status');
  readonly #connection = element('connection');
  readonly #rate = element('rate');
  readonly #lag = element('lag');
  readonly #shown = element('shown');
  readonly #notice = element('notice');
  #status: Status = 'connecting';
  #delay: number | undefined;
  #told = '';

  connection(status: Status): void {
    this.#status = status;
    this.#draw();
  }

  /** Show the traffic, and the number of known entities. */
  traffic(meter: Meter, known: number): void {
    const { rate, lag } = meter.read();
    write(this.#rate, rate >= 10 ? Math.round(rate).toLocaleString() : rate.toFixed(1));
    write(this.#lag, lag === undefined ? '–' : lagText(lag));
    write(this.#shown, known.toLocaleString());
    this.#delay = lag;
    this.#draw();
  }

  /** Show a problem; empty: none. */
  notice(text: string): void {
    write(this.#notice, text);
    this.#notice.hidden = text === '';
  }

  /** What is connected is live only if updates arrive in time. */
  #draw(): void {
    const delayed = this.#status === 'connected' && this.#delay !== undefined && this.#delay >= DELAYED;
    const state = delayed ? 'delayed' : this.#status;
    this.#bar.dataset['status'] = state;
    write(this.#connection, delayed ? `Delayed by ${ageText((this.#delay ?? 0) / 1_000)}` : WORDS[this.#status]);
    if (state === this.#told) return; // the delay itself would be announced every second
    this.#told = state;
    announce(this.#connection.textContent ?? '');
  }
}

function lagText(lag: number): string {
  return lag < 1_000 ? `${Math.max(0, Math.round(lag))} ms` : `${(lag / 1_000).toFixed(1)} s`;
}
