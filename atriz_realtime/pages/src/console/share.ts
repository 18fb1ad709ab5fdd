import { readDestination, type Destination } from '../destination.ts';
import { element, make, write } from '../dom.ts';
import { Refusal, type Api, type Said, type Share } from './api.ts';
import { copies } from './clipboard.ts';
import { positionOf } from './details.ts';
import type { Entity } from './fleet.ts';
import type { Formats } from './formats.ts';
import { lineOf } from '../text.ts';

/** Most characters of a text that a link carries. */
const LENGTH = 100;

/** Seconds of the life that is offered first. */
const USUAL = 7_200;

/** The part of the card that makes links to the entity. */
export class SharePanel {
  readonly #api: Api;
  readonly #formats: Formats;
  readonly #button = element<HTMLButtonElement>('share');
  readonly #panel = element('share-panel');
  readonly #make = element<HTMLButtonElement>('share-make');
  readonly #end = element<HTMLButtonElement>('share-end');
  readonly #name = element<HTMLInputElement>('share-name');
  readonly #leads = element<HTMLInputElement>('share-leads');
  readonly #label = element<HTMLInputElement>('share-label');
  readonly #time = element<HTMLSelectElement>('share-time');
  readonly #url = element<HTMLInputElement>('share-url');
  /** The entities that the user may not share. */
  readonly #refused = new Set<string>();
  readonly #shares = new Map<string, Share>();
  #enabled: boolean;
  #entity: Entity | undefined;
  #destination: Destination | undefined;

  /** @param maxLife Longest life of a link, in seconds; 0: the server makes none. */
  constructor(api: Api, formats: Formats, maxLife: number) {
    this.#api = api;
    this.#formats = formats;
    this.#enabled = maxLife > 0;
    this.#offer(maxLife);
    this.#button.addEventListener('click', () => this.#toggle(this.#panel.hidden !== false));
    element('share-new').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#share();
    });
    for (const field of [this.#label, this.#leads]) field.addEventListener('input', () => this.#lead());
    this.#end.addEventListener('click', () => void this.#unshare());
    this.#url.addEventListener('focus', () => this.#url.select());
    copies(element<HTMLButtonElement>('share-copy'), () => this.#url.value);
  }

  /** Set the entity of the card. */
  show(entity: Entity): void {
    if (entity === this.#entity) {
      if (this.#forget(entity)) this.#draw();
      return;
    }
    this.#entity = entity;
    this.#button.hidden = !this.#enabled || this.#refused.has(entity.key);
    this.#toggle(false);
  }

  #toggle(open: boolean): void {
    this.#panel.hidden = !open;
    this.#button.ariaExpanded = String(open);
    this.#note('');
    if (!open || this.#entity === undefined) return;
    const { id, names, destination } = this.#entity;
    this.#name.value = names.name;
    this.#name.placeholder = id;
    this.#destination = readDestination(destination);
    this.#leads.checked = this.#destination !== undefined;
    this.#label.value = this.#destination?.label ?? '';
    this.#lead();
    this.#forget(this.#entity);
    this.#draw();
  }

  /** Offer the lives that the server allows. */
  #offer(maxLife: number): void {
    const lives = [...this.#time.options];
    for (const life of lives.filter(({ value }) => Number(value) > maxLife)) life.remove();
    if (this.#time.options.length === 0) {
      const [amount, unit] = maxLife < 60 ? [maxLife, 'second'] : [Math.floor(maxLife / 60), 'minute'];
      const life = make('option', '', `${amount} ${unit}${amount === 1 ? '' : 's'}`);
      life.value = String(maxLife);
      this.#time.append(life);
    }
    const most = this.#time.options[this.#time.options.length - 1];
    this.#time.value = String(Math.min(USUAL, Number(most?.value)));
  }

  /** Show how the link will name the destination. */
  #lead(): void {
    const destination = this.#destination;
    this.#label.disabled = !this.#leads.checked;
    if (destination === undefined) return;
    this.#label.placeholder = positionOf(destination);
    write(element('share-destination'), lineOf(this.#label.value, LENGTH) || positionOf(destination));
  }

  /** Forget the link to an entity if it has expired; returns whether it has. */
  #forget({ key }: Entity): boolean {
    const share = this.#shares.get(key);
    if (share === undefined || Date.parse(share.expiresAt) > this.#api.clock.now()) return false;
    return this.#shares.delete(key);
  }

  #draw(): void {
    const share = this.#entity && this.#shares.get(this.#entity.key);
    element('share-new').hidden = share !== undefined;
    for (const id of ['share-leads-label', 'share-label-label', 'share-label']) {
      element(id).hidden = this.#destination === undefined;
    }
    element('share-made').hidden = share === undefined;
    if (share === undefined) return;
    this.#url.value = share.url;
    const end = this.#formats.moment(Date.parse(share.expiresAt), this.#api.clock.now());
    write(element('share-until'), `Whoever has this link sees ${share.name ?? 'the position'} until ${end}.`);
  }

  async #share(): Promise<void> {
    const entity = this.#entity;
    if (entity === undefined) return;
    const seconds = Number(this.#time.value);
    const said = this.#said;
    await this.#ask(this.#make, entity, async () => {
      this.#shares.set(entity.key, await this.#api.share(entity.type, entity.id, seconds, said));
    });
    if (this.#entity === entity && !element('share-made').hidden) this.#url.focus();
  }

  /** What the link shall say, as the user has edited it. */
  get #said(): Said {
    const [name, label] = [lineOf(this.#name.value, LENGTH), lineOf(this.#label.value, LENGTH)];
    const said = name === '' ? {} : { name };
    if (this.#destination === undefined || !this.#leads.checked) return said;
    const { latitude, longitude } = this.#destination;
    return { ...said, destination: { latitude, longitude, ...(label !== '' && { label }) } };
  }

  async #unshare(): Promise<void> {
    const entity = this.#entity;
    const share = entity && this.#shares.get(entity.key);
    if (entity === undefined || share === undefined) return;
    await this.#ask(this.#end, entity, async () => {
      await this.#api.unshare(share.id);
      this.#shares.delete(entity.key);
    });
    if (this.#entity !== entity || this.#shares.has(entity.key)) return;
    this.#note('The link has ended.');
    this.#make.focus(); // what had the focus is hidden
  }

  /** Ask the server, once at a time, and show what becomes of it. */
  async #ask(button: HTMLButtonElement, entity: Entity, call: () => Promise<void>): Promise<void> {
    button.disabled = true;
    let note = '';
    try {
      await call();
    } catch (error) {
      note = this.#reason(error, entity);
    }
    button.disabled = false;
    if (this.#entity !== entity) return; // another card is open meanwhile
    this.#draw();
    this.#note(note);
  }

  #reason(error: unknown, entity: Entity): string {
    if (!(error instanceof Refusal)) return 'The server cannot be reached. Try again.';
    if (error.status === 429) return 'You have made or ended too many links. Try again later.';
    if (error.status === 401) return 'Your token is no longer good. Sign in again.';
    if (error.status < 500 && ![403, 404, 405].includes(error.status)) {
      return 'The server does not accept this name, destination or time. Change them, and try again.';
    }
    if (error.status >= 500) return 'The server cannot do this now. Try again.';
    if (error.status === 403) this.#refused.add(entity.key);
    else this.#enabled = false;
    if (this.#entity === entity) this.#button.hidden = true;
    return this.#enabled ? 'You may not share this.' : 'This server does not share.';
  }

  #note(text: string): void {
    write(element('share-note'), text);
  }
}
