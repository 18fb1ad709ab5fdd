import { readDestination, type Destination } from '../destination.ts';
import { element, write } from '../dom.ts';
import { Refusal, type Api, type Said, type Share } from './api.ts';
import { copies } from './clipboard.ts';
import { positionOf } from './details.ts';
import type { Entity } from './fleet.ts';
import type { Formats } from './formats.ts';

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
  readonly #url = element<HTMLInputElement>('share-url');
  /** The entities that the user may not share. */
  readonly #refused = new Set<string>();
  readonly #shares = new Map<string, Share>();
  #enabled: boolean;
  #entity: Entity | undefined;
  #destination: Destination | undefined;

  /** @param enabled Whether the server makes links. */
  constructor(api: Api, formats: Formats, enabled: boolean) {
    this.#api = api;
    this.#formats = formats;
    this.#enabled = enabled;
    this.#button.addEventListener('click', () => this.#toggle(this.#panel.hidden !== false));
    element('share-new').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#share();
    });
    this.#end.addEventListener('click', () => void this.#unshare());
    this.#url.addEventListener('focus', () => this.#url.select());
    copies(element<HTMLButtonElement>('share-copy'), () => this.#url.value);
  }

  /** Set the entity of the card. */
  show(entity: Entity): void {
    if (entity === this.#entity) return;
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
    if (this.#destination !== undefined) {
      write(element('share-destination'), this.#destination.label ?? positionOf(this.#destination));
    }
    this.#draw();
  }

  #draw(): void {
    const share = this.#entity && this.#shares.get(this.#entity.key);
    element('share-new').hidden = share !== undefined;
    element('share-leads-label').hidden = this.#destination === undefined;
    element('share-made').hidden = share === undefined;
    if (share === undefined) return;
    this.#url.value = share.url;
    const end = this.#formats.moment(Date.parse(share.expiresAt), this.#api.clock.now());
    write(element('share-until'), `Whoever has this link sees ${share.name ?? 'the position'} until ${end}.`);
  }

  async #share(): Promise<void> {
    const entity = this.#entity;
    if (entity === undefined) return;
    const seconds = Number(element<HTMLSelectElement>('share-time').value);
    const said = this.#said;
    await this.#ask(this.#make, entity, async () => {
      this.#shares.set(entity.key, await this.#api.share(entity.type, entity.id, seconds, said));
    });
    if (this.#entity === entity && !element('share-made').hidden) this.#url.focus();
  }

  /** What the link shall say, as the user has edited it. */
  get #said(): Said {
    const name = this.#name.value.trim();
    const destination = this.#leads.checked ? this.#destination : undefined;
    return { ...(name !== '' && { name }), ...(destination && { destination }) };
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
    if (![403, 404, 405].includes(error.status)) return error.message;
    if (error.status === 403) this.#refused.add(entity.key);
    else this.#enabled = false;
    if (this.#entity === entity) this.#button.hidden = true;
    return this.#enabled ? 'You may not share this.' : 'This server does not share.';
  }

  #note(text: string): void {
    write(element('share-note'), text);
  }
}
