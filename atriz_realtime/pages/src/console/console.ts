import type { Location } from '../../../frontend/dist/index.js';
import { Clock } from '../clock.ts';
import { element } from '../dom.ts';
import { AddressBar, type Address } from './address.ts';
import { Api, Refusal } from './api.ts';
import { Choice } from './choice.ts';
import { Connections } from './connections.ts';
import { SettingsDialog } from './dialog.ts';
import { Fleet, titleOf, type Entity } from './fleet.ts';
import { Formats } from './formats.ts';
import { Keyboard } from './keyboard.ts';
import { Meter } from './meter.ts';
import { Panel } from './panel.ts';
import { PreferenceStore } from './preferences.ts';
import { BASE, FILES, type Settings, type ShareSettings } from './settings.ts';
import { Stage } from './stage.ts';
import { announce, StatusBar } from './status.ts';
import { isUnknownUser, Sync } from './sync.ts';
import { fullScreen } from './tools.ts';
import { fitWindow } from './viewport.ts';

/** Milliseconds between two updates of ages. */
const TICK = 1_000;

/** Updates of ages after which a list that is sorted by something that changes is sorted again. */
const SORT_TICKS = 5;

/** Milliseconds after a refused connection until the server is asked again. */
const RETRY_DELAY = 5_000;

/** The console of a signed-in user. */
export class Console {
  readonly #clock = new Clock();
  readonly #meter = new Meter();
  readonly #status = new StatusBar();
  readonly #addresses = new AddressBar((address) => this.#go(address));
  readonly #fleet: Fleet;
  readonly #connections: Connections;
  readonly #sync: Sync;
  readonly #stage: Stage;
  readonly #panel: Panel;
  readonly #choice: Choice;
  readonly #endSearch: () => void;
  readonly #left: (reason: string) => void;
  /** The entity that the address names, until it is known. */
  #awaited: Address['entity'];
  /** Whether the address is being followed, and must not be written. */
  #going = false;
  #fitted = false;
  #drawing = false;
  #known = false;
  #originRefused = false;
  #failure: unknown;
  #ticks = 0;

  /** @param left Called when the server does not accept the token. */
  constructor(settings: Settings & ShareSettings, token: string, left: (reason: string) => void) {
    const { types, fields, maxSubscriptions } = settings;
    this.#left = left;
    const preferences = new PreferenceStore();
    const formats = new Formats(preferences);
    const api = new Api(BASE, token, this.#clock);
    const now = () => this.#clock.now();
    this.#fleet = new Fleet(types, fields, settings);
    this.#stage = new Stage(
      { ...settings, files: FILES },
      {
        choose: (mark) => this.#choice.choose(this.#fleet.of(mark)),
        released: () => this.#choice.follow(false),
        moved: () => this.#write(false),
        announce,
      },
    );
    this.#stage.setClusters(preferences.value.clusters);
    this.#panel = new Panel(this.#fleet, settings, preferences, formats, {
      now,
      announce,
      choose: (entity) => this.#choice.choose(entity),
      hover: (entity) => this.#stage.hover(entity?.mark),
      filtered: () => {
        this.#show();
        this.#write(false);
      },
      fit: (entities) => this.#fit(entities),
    });
    this.#choice = new Choice(this.#stage, api, settings, formats, {
      now,
      announce,
      chosen: (entity) => this.#chosen(entity),
      followed: () => this.#write(false),
    });
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
    this.#sync = new Sync(settings, api, this.#connections, this.#fleet, {
      changed: () => this.#changed(),
      gone: (entity) => {
        this.#panel.drop(entity);
        if (entity !== this.#choice.entity) return;
        this.#choice.choose(undefined);
        announce(`${entity.type} ${titleOf(entity)} is no longer on the map`);
      },
      done: (failure) => this.#listed(failure),
    });
    this.#status.connection(this.#connections.status);
    new SettingsDialog(preferences, fields);
    preferences.onChange(() => {
      this.#choice.describe();
      this.#stage.setClusters(preferences.value.clusters);
    });
    new Keyboard(this.#panel, this.#choice);
    fullScreen();
    this.#endSearch = fitWindow(element('console'), this.#panel.filters.search);
    element('fit').addEventListener('click', () => this.#fit(this.#panel.found));
    setInterval(() => this.#tick(), TICK);
    this.#go(this.#addresses.read());
    this.#sync.start();
  }

  // -- events of the server -------------------------------------------------------------------

  #moved(type: string, id: string, location: Location): void {
    const entity = this.#fleet.entities.get(`${type}:${id}`);
    if (entity === undefined) return; // refused or removed just before
    const before = entity.at;
    this.#fleet.take(type, id, location);
    // tracking sends the last known position again, which must not count as an update
    if (entity.at > before) this.#meter.add(this.#clock.now() - entity.at);
    if (this.#fleet.hasReturned(entity, this.#clock.now())) this.#changed();
    this.#stage.moved(entity.mark);
    if (entity === this.#choice.entity) this.#choice.describe();
  }

  #listed(failure: unknown): void {
    if (isUnknownUser(failure)) {
      this.#left(this.#known ? 'Your token is no longer good. Sign in with another.' : 'The server does not accept this token.');
      return;
    }
    if (failure === undefined && !this.#known) {
      this.#known = true;
      announce(`${this.#fleet.entities.size.toLocaleString()} entities`);
    }
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
      if (!(failure instanceof Refusal)) return 'The server cannot be reached';
      return `The server refuses the list: ${failure.code}`;
    }
    if (this.#awaited !== undefined && this.#known) return `Nothing is known of ${this.#awaited.type} ${this.#awaited.id}`;
    const { refused } = this.#sync;
    return refused === 0 ? '' : `${refused.toLocaleString()} not shown: the server does not let you follow them`;
  }

  // -- drawing ----------------------------------------------------------------------------------

  /** Entities were added, removed or changed: update the page, at most once per frame. */
  #changed(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#fleet.age(this.#clock.now());
      this.#panel.refresh(false);
      this.#show();
      this.#find();
    });
  }

  #tick(): void {
    this.#ticks += 1;
    const changed = this.#fleet.age(this.#clock.now());
    if (changed || this.#ticks % SORT_TICKS === 0) {
      this.#panel.refresh(false);
      this.#show();
    } else {
      this.#panel.draw();
      this.#status.traffic(this.#meter, this.#fleet.entities.size);
    }
    this.#choice.describe();
  }

  /** Show on the map what passes the filters, and what is chosen: it would be odd to follow what is hidden. */
  #show(): void {
    const { found } = this.#panel;
    const { entity } = this.#choice;
    const everything = found.length === this.#fleet.entities.size;
    const marks = everything ? this.#fleet.marks : new Set(found.map(({ mark }) => mark));
    const beside = entity === undefined || marks.has(entity.mark) ? undefined : entity;
    this.#stage.show(beside === undefined ? marks : marks.add(beside.mark));
    this.#panel.describe(beside, this.#known);
    this.#status.traffic(this.#meter, this.#fleet.entities.size);
    this.#status.notice(this.#trouble());
  }

  /** Bring what has been found into view once, and choose what the address names. */
  #find(): void {
    const { entities } = this.#fleet;
    if (!this.#fitted && entities.size > 0) {
      this.#fitted = true;
      const current = this.#panel.found.filter(({ freshness }) => freshness !== 'offline');
      const places = current.length > 0 ? current : this.#panel.found;
      this.#stage.fit(places.map(({ mark }) => mark));
    }
    const awaited = this.#awaited && entities.get(`${this.#awaited.type}:${this.#awaited.id}`);
    if (awaited === undefined) return;
    this.#awaited = undefined;
    this.#going = true; // the user may have searched meanwhile, or moved the map
    this.#choice.choose(awaited, this.#stage.view === undefined);
    this.#going = false;
    this.#write(false);
  }

  // -- actions of the user ----------------------------------------------------------------------

  #chosen(entity: Entity | undefined): void {
    if (!this.#going) this.#awaited = undefined;
    this.#panel.choose(entity);
    this.#show();
    if (entity !== undefined) this.#endSearch();
    this.#write(true);
  }

  #fit(entities: readonly Entity[]): void {
    this.#choice.follow(false);
    this.#stage.fit(entities.map(({ mark }) => mark));
    this.#write(false);
  }

  /** Write what one sees into the address, so that it can be bookmarked and sent. */
  #write(push: boolean): void {
    if (this.#going) return;
    this.#addresses.write(
      { ...this.#panel.filters.address, entity: this.#choice.entity ?? this.#awaited, view: this.#stage.view },
      push,
    );
  }

  /** Show what the address says. */
  #go(address: Address): void {
    this.#going = true;
    const { entity: named, view } = address;
    this.#panel.filters.address = address;
    this.#panel.refresh(true);
    const entity = named && this.#fleet.entities.get(`${named.type}:${named.id}`);
    this.#awaited = entity === undefined ? named : undefined;
    this.#choice.choose(entity, view === undefined);
    if (view !== undefined) {
      this.#fitted = true;
      this.#stage.look(view);
    }
    this.#going = false;
  }
}
