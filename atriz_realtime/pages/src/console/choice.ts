import type { Api } from './api.ts';
import { Details } from './details.ts';
import { titleOf, type Entity } from './fleet.ts';
import type { Formats } from './formats.ts';
import type { Settings, ShareSettings } from './settings.ts';
import { SharePanel } from './share.ts';
import type { Stage } from './stage.ts';

export interface ChoiceListeners {
  /** The time of the server clock, in milliseconds since the epoch. */
  now(): number;
  /** Another entity is chosen, or none. */
  chosen(entity: Entity | undefined): void;
  /** Following has begun or ended. */
  followed(): void;
  /** Tell people who cannot see the page. */
  announce(text: string): void;
}

/** The chosen entity, with its card, and whether the map follows it. */
export class Choice {
  readonly #stage: Stage;
  readonly #listeners: ChoiceListeners;
  readonly #details: Details;
  readonly #share: SharePanel;
  #entity: Entity | undefined;
  #following = false;

  constructor(stage: Stage, api: Api, settings: Settings & ShareSettings, formats: Formats, listeners: ChoiceListeners) {
    this.#stage = stage;
    this.#listeners = listeners;
    this.#share = new SharePanel(api, formats, settings.maxLife);
    this.#details = new Details(settings, formats, {
      follow: () => this.follow(!this.#following),
      close: () => this.choose(undefined),
    });
  }

  get entity(): Entity | undefined {
    return this.#entity;
  }

  /** Choose an entity, and follow it; `undefined`: none. */
  choose(entity: Entity | undefined, follow = true): void {
    this.#entity = entity;
    this.#following = entity !== undefined && follow;
    this.#stage.choose(entity?.mark);
    this.describe(); // before the map moves, since the card covers a part of it
    this.#stage.follow(this.#following ? entity?.mark : undefined);
    this.#listeners.chosen(entity);
    if (entity === undefined) return;
    this.#listeners.announce(`${this.#following ? 'Following' : 'Showing'} ${entity.type} ${titleOf(entity)}`);
  }

  /** Follow the chosen entity, or no longer. */
  follow(following: boolean): void {
    if (this.#entity === undefined || following === this.#following) return;
    this.#following = following;
    this.#stage.follow(following ? this.#entity.mark : undefined);
    this.describe();
    this.#listeners.followed();
  }

  /** Update the card. */
  describe(): void {
    if (this.#entity === undefined) {
      this.#details.hide();
      return;
    }
    this.#share.show(this.#entity);
    this.#details.show(this.#entity, this.#listeners.now(), this.#following);
  }
}
