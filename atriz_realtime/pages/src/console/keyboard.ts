import { element } from '../dom.ts';
import type { Choice } from './choice.ts';
import type { Panel } from './panel.ts';

/** The keys that work on the whole page. */
export class Keyboard {
  readonly #panel: Panel;
  readonly #choice: Choice;

  constructor(panel: Panel, choice: Choice) {
    this.#panel = panel;
    this.#choice = choice;
    document.addEventListener('keydown', (event) => {
      if (!event.defaultPrevented && this.#handles(event)) event.preventDefault();
    });
  }

  #handles({ key, target, isComposing }: KeyboardEvent): boolean {
    const { search } = this.#panel.filters;
    const typing = target === search;
    if (isComposing || document.querySelector('dialog[open]') !== null) return false;
    if (key === '/' && !isField(target)) search.focus();
    else if (key === 'Escape' && target === element('share-panel').querySelector('input:focus:not([readonly])')) {
      element('share').focus(); // the card, and what has been typed, stay
    } else if (key === 'Escape') return this.#escape(typing && search.value !== '');
    else if (key === 'ArrowDown' && typing) element('list').focus();
    else if (key === 'Enter' && typing) return this.#first();
    else return false;
    return true;
  }

  /** Undo what was done last: the search, the selection, or the choice. */
  #escape(searching: boolean): boolean {
    if (searching) return false; // the browser clears the field
    if (this.#panel.isSelecting) this.#panel.clearSelection();
    else if (this.#choice.entity !== undefined) this.#choice.choose(undefined);
    else return false;
    return true;
  }

  /** Choose the first that the search has found. */
  #first(): boolean {
    const [first] = this.#panel.found;
    if (first !== undefined) this.#choice.choose(first);
    if (matchMedia('(pointer: coarse)').matches) this.#panel.filters.search.blur(); // closes the keyboard
    return true;
  }
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
}
