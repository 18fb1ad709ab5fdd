import { Clock } from '../clock.ts';
import { freshnessOf } from '../freshness.ts';
import { Card } from './card.ts';
import type { State } from './connection.ts';
import { readDetails, type Details } from './details.ts';
import { lookUp } from './first.ts';
import type { Formats } from './formats.ts';
import type { Link } from './link.ts';
import { askWhy, showOver, type Finish } from './over.ts';
import { stepName, type Settings } from './settings.ts';
import { Stage } from './stage.ts';

import type { Location } from '../../../frontend/dist/index.js';

/** Milliseconds after the end of the link for which the page waits for the server to end it. */
const GRACE = 5_000;

/** What a link shows, until it ends. */
export class Sharing {
  readonly #link: Link;
  readonly #settings: Settings;
  readonly #formats: Formats;
  readonly #clock = new Clock();
  readonly #card: Card;
  readonly #stage: Stage;
  readonly #ticking: ReturnType<typeof setInterval>;
  #close: (() => void) | undefined;
  #state: State = 'connecting';
  #last: Location | undefined;
  #details: Details | undefined;
  #isOver = false;

  constructor(link: Link, settings: Settings, formats: Formats) {
    this.#link = link;
    this.#settings = settings;
    this.#formats = formats;
    this.#card = new Card(link, settings, formats);
    this.#stage = new Stage(settings.words);
    this.#ticking = setInterval(() => this.#draw(), 1_000);
    this.#draw();
    const base = new URL('..', location.href);
    void this.#connect(base);
    void this.#lookUp(base);
  }

  async #connect(base: URL): Promise<void> {
    const { follow } = await import('./connection.ts');
    if (this.#isOver) return;
    const server = { origin: base.origin, path: `${base.pathname}socket.io/` };
    const { close } = follow(this.#link, server, {
      moved: ({ location: found }) => this.#moved(found),
      became: (state) => {
        this.#state = state;
        if (state === 'connected') this.#accept();
        if (state === 'ended') void this.#end();
        else this.#draw();
      },
    });
    this.#close = close;
    if (this.#isOver) close();
  }

  async #lookUp(base: URL): Promise<void> {
    try {
      const { date, location: found } = await lookUp(this.#link, base);
      this.#clock.set(date);
      if (found !== undefined && this.#last === undefined) this.#moved(found);
    } catch {
      // the connection tells the position as well
    }
  }

  /** The server has accepted the link, so what it says is true. */
  #accept(): Details {
    if (this.#details === undefined) {
      this.#details = this.#link.details;
      this.#lead(this.#details);
    }
    return this.#details;
  }

  #moved(found: Location): void {
    if (this.#isOver) return;
    this.#last = found;
    const before = this.#accept();
    // what the link says comes first
    const details = { ...updated(before, readDetails(found.metadata)), ...this.#link.details };
    this.#details = details;
    const { status, since, destination } = details;
    if (status !== undefined && status === this.#settings.steps.at(-1)) {
      const at = Date.parse(since ?? found.timestamp);
      void this.#end({ what: stepName(this.#settings, status), at, isGood: true });
      return;
    }
    if (JSON.stringify(destination) !== JSON.stringify(before.destination)) this.#lead(details);
    this.#stage.show(this.#card.nameOf(details), (place) => place.move(found.latitude, found.longitude, headingOf(found)));
    this.#draw();
  }

  #lead(details: Details): void {
    const { destination } = details;
    if (destination !== undefined) this.#stage.show(this.#card.nameOf(details), (place) => place.lead(destination));
  }

  #draw(): void {
    if (this.#isOver) return;
    const now = this.#clock.now();
    const last = this.#last;
    const isLost = this.#state !== 'connected' && performance.now() > GRACE;
    if (isLost && this.#link.endsAt + GRACE < now) {
      void this.#end();
      return;
    }
    const age = last === undefined ? 0 : Math.max(0, now - Date.parse(last.timestamp));
    const freshness = freshnessOf(age / 1_000, false, this.#settings);
    const position = last === undefined ? undefined : { location: last, freshness };
    this.#card.draw({ state: this.#state, now, details: this.#details, position });
    if (last !== undefined && this.#details !== undefined) {
      this.#stage.show(this.#card.nameOf(this.#details), (place) => place.age(freshness));
    }
  }

  async #end(finish?: Finish): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#ticking);
    this.#close?.();
    this.#stage.remove();
    finish ??= await askWhy(this.#link.token, this.#settings);
    // whoever knows how it finished has accepted the link
    showOver(this.#settings, this.#formats, finish, (this.#details ?? this.#link.details).name);
  }
}

/** What is known after a fix: what it leaves out stays as it was, except the time of another status. */
function updated({ since, ...known }: Details, told: Details): Details {
  const isSame = told.status === undefined || told.status === known.status;
  return { ...known, ...(isSame && since !== undefined && { since }), ...told };
}

/** The direction of movement; what stands still has none. */
function headingOf({ speed, heading }: Location): number | undefined {
  return speed === 0 ? undefined : heading;
}
