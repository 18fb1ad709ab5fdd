import { Api, Refusal } from './api.ts';
import { Clock } from '../clock.ts';
import { Connections } from './connections.ts';
import { Details } from './details.ts';
import { element, write } from '../dom.ts';
import { Filters } from './filters.ts';
import { Fleet, type Entity } from './fleet.ts';
import { List } from './list.ts';
import { Meter } from './meter.ts';
import { BASE, FILES, type Settings } from './settings.ts';
import { Stage } from './stage.ts';
import { StatusBar } from './status.ts';
import { isUnknownUser, Sync } from './sync.ts';

/** Milliseconds between two updates of ages. */
const TICK = 1_000;

/** Milliseconds after a refused connection until the server is asked again. */
const RETRY_DELAY = 5_000;

/** The console of a signed-in user. */
export class Console {
  readonly #settings: Settings;
  readonly #clock = new Clock();
  readonly #meter = new Meter();
  readonly #fleet: Fleet;
  readonly #connections: Connections;
  readonly #sync: Sync;
  readonly #stage: Stage;
  readonly #list: List;
  readonly #filters: Filters;
  readonly #status = new StatusBar();
  readonly #details: Details;
  readonly #left: (reason: string) => void;
  #chosen: Entity | undefined;
  #following = false;
  #fitted = false;
  #selecting = false;
  #known = false;
  #originRefused = false;
  #failure: unknown;

  /** @param left Called when the server does not accept the token. */
  constructor(settings: Settings, token: string, left: (reason: string) => void) {
    const { types, maxSubscriptions, staleAfter, basemap, tileUrl, tileUrlDark, tileAttribution } = settings;
    this.#settings = settings;
    this.#left = left;
    this.#fleet = new Fleet(types);
    this.#stage = new Stage(
      { files: FILES, basemap, tileUrl, tileUrlDark, tileAttribution },
      (mark) => this.#choose(this.#fleet.of(mark)),
      () => this.#follow(false),
    );
    this.#stage.show(this.#fleet.marks);
    this.#list = new List(element('list'), {
      choose: (entity) => this.#choose(entity),
      now: () => this.#clock.now(),
      staleAfter,
    });
    this.#filters = new Filters(types, () => this.#select());
    this.#details = new Details(
      () => this.#follow(!this.#following),
      () => this.#choose(undefined),
    );
    this.#connections = new Connections(BASE, token, maxSubscriptions, {
      moved: ({ type, entityId, location }) => this.#moved(type, entityId, location),
      status: (status) => {
        this.#status.connection(status);
        if (status === 'connected') {
          this.#originRefused = false;
          this.#sync.start();
        }
        if (status === 'refused') setTimeout(() => this.#sync.start(), RETRY_DELAY);
      },
      refused: (type, id) => this.#sync.refuse(type, id),
      failed: ({ code }) => {
        if (code === 'origin_refused' || code === 'unreachable') void this.#findOut();
        this.#sync.start(); // it finds out whether the token is still valid
      },
    });
    this.#sync = new Sync(types, new Api(BASE, token, this.#clock), this.#connections, this.#fleet, {
      changed: () => this.#changed(),
      gone: (entity) => {
        if (entity === this.#chosen) this.#choose(undefined);
      },
      done: (failure) => this.#looked(failure),
    });
    this.#status.connection(this.#connections.status);
    element('fit').addEventListener('click', () => {
      this.#follow(false);
      this.#stage.fit(this.#fleet.marks);
    });
    document.addEventListener('keydown', (event) => this.#key(event));
    setInterval(() => this.#tick(), TICK);
    this.#sync.start();
  }

  // -- events of the server -------------------------------------------------------------------

  #moved(type: string, id: string, location: Entity['location']): void {
    const entity = this.#fleet.entities.get(`${type}:${id}`);
    if (entity === undefined) return; // refused or removed just before
    const before = entity.at;
    this.#fleet.take(type, id, location);
    // tracking sends the last known position again, which must not count as an update
    if (entity.at > before) this.#meter.add(this.#clock.now() - entity.at);
    this.#stage.moved(entity.mark);
    if (entity === this.#chosen) this.#describe();
  }

  #looked(failure: unknown): void {
    if (isUnknownUser(failure)) {
      this.#left(this.#known ? 'Your token is no longer good. Sign in with another.' : 'The server does not accept this token.');
      return;
    }
    this.#known ||= failure === undefined;
    if (this.#connections.status === 'refused') this.#connections.reconnect();
    this.#failure = failure;
    this.#changed();
  }

  async #findOut(): Promise<void> {
    this.#originRefused = await this.#connections.isOriginRefused();
    this.#changed();
  }

  /** A sentence about what is wrong; empty: nothing. */
  #trouble(): string {
    if (this.#originRefused) return `The server does not accept this page: ${location.origin} is not in its cors_origin`;
    const failure = this.#failure;
    if (failure !== undefined) {
      const reason = failure instanceof Refusal ? failure.code : 'it cannot be reached';
      return `The server does not list what there is: ${reason}`;
    }
    const { refused } = this.#sync;
    return refused === 0 ? '' : `${refused.toLocaleString()} not shown: the server does not let you follow them`;
  }

  /** Entities were added or removed: update the page, at most once per frame. */
  #changed(): void {
    if (this.#selecting) return;
    this.#selecting = true;
    requestAnimationFrame(() => {
      this.#selecting = false;
      if (!this.#fitted && this.#fleet.marks.size > 0) {
        this.#fitted = true;
        this.#stage.fit(this.#fleet.marks);
      }
      this.#select();
    });
  }

  #tick(): void {
    if (this.#fleet.age(this.#clock.now(), this.#settings.staleAfter)) this.#stage.faded();
    this.#status.traffic(this.#meter, this.#fleet.entities.size);
    this.#list.draw();
    if (this.#chosen !== undefined) this.#describe();
  }

  // -- actions of the user ----------------------------------------------------------------------

  /** Show the entities that pass the filters, in the list and on the map. */
  #select(): void {
    const { shown, search } = this.#filters;
    const entities = this.#fleet.select(shown, search.value);
    const everything = entities.length === this.#fleet.entities.size;
    this.#fleet.age(this.#clock.now(), this.#settings.staleAfter);
    this.#stage.show(everything ? this.#fleet.marks : new Set(entities.map(({ mark }) => mark)));
    this.#list.show(entities);
    const counts = new Map<string, number>();
    for (const { type } of this.#fleet.entities.values()) counts.set(type, (counts.get(type) ?? 0) + 1);
    this.#filters.count(counts);
    const total = this.#fleet.entities.size;
    const found = everything ? total.toLocaleString() : `${entities.length.toLocaleString()} of ${total.toLocaleString()}`;
    write(element('count'), total === 0 ? 'Nothing has reported yet' : `${found} on the map`);
    this.#status.traffic(this.#meter, total);
    this.#status.notice(this.#trouble());
  }

  #choose(entity: Entity | undefined): void {
    this.#chosen = entity;
    this.#stage.choose(entity?.mark);
    this.#list.choose(entity?.key);
    if (entity === undefined) this.#details.hide();
    this.#follow(entity !== undefined);
    if (entity !== undefined) write(element('announcement'), `Following ${entity.type} ${entity.id}`);
  }

  #follow(following: boolean): void {
    this.#following = following;
    this.#stage.follow(following ? this.#chosen?.mark : undefined);
    if (this.#chosen !== undefined) this.#describe();
  }

  #describe(): void {
    if (this.#chosen === undefined) return;
    this.#details.show(this.#chosen, this.#clock.now(), this.#settings.staleAfter, this.#following);
  }

  #key(event: KeyboardEvent): void {
    const { search } = this.#filters;
    const typing = event.target === search;
    if (event.key === '/' && !typing) search.focus();
    else if (event.key === 'Escape' && typing && search.value !== '') return; // the browser clears the field
    else if (event.key === 'Escape' && this.#chosen !== undefined) this.#choose(undefined);
    else if (event.key === 'ArrowDown' && typing) element('list').focus();
    else return;
    event.preventDefault();
  }
}
