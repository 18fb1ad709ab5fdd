import { element } from '../dom.ts';
import type { MapOptions } from '../map/map.ts';
import type { Place } from './place.ts';
import type { Words } from './words.ts';

/** The folder of the page's files. */
const FILES = 'files/';

/** The part of the page with the map, which is loaded while the card is already shown. */
export class Stage {
  readonly #loading: Promise<typeof import('./place.ts')>;
  readonly #words: Words;
  readonly #actions: ((place: Place) => void)[] = [];
  #place: Place | undefined;
  #isRemoved = false;

  constructor(words: Words) {
    this.#words = words;
    this.#loading = Promise.all([import('./place.ts'), addStyle(`${FILES}share-map.css`)]).then(([place]) => place);
    this.#loading.catch((error: unknown) => console.warn('no map', error)); // the card remains
  }

  /** Do something with the map as soon as it is there; the first call shows it. */
  show(name: string, action: (place: Place) => void): void {
    if (this.#place !== undefined) return action(this.#place);
    if (this.#actions.push(action) > 1) return;
    this.#loading.then(
      ({ Place: Shown }) => {
        if (!this.#isRemoved) this.#create(new Shown(this.#uncovered(), name, optionsOf(document.body), this.#words));
      },
      () => undefined,
    );
  }

  /** Remove the map. */
  remove(): void {
    this.#isRemoved = true;
    this.#place?.remove();
    this.#place = undefined;
    element('map').remove();
  }

  #create(place: Place): void {
    this.#place = place;
    const button = element('follow');
    button.addEventListener('click', () => place.follow());
    place.onFollow((following) => (button.hidden = following));
    for (const action of this.#actions.splice(0)) action(place);
  }

  #uncovered(): HTMLElement {
    element('calm').hidden = true;
    const map = element('map');
    map.hidden = false;
    return map;
  }
}

function optionsOf({ dataset }: HTMLElement): MapOptions {
  const { basemap = '', tileUrl = '', tileUrlDark = '', tileAttribution = '' } = dataset;
  return { files: FILES, basemap, tileUrl, tileUrlDark, tileAttribution };
}

function addStyle(href: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = href;
    link.addEventListener('load', () => resolve());
    link.addEventListener('error', () => reject(new Error(href)));
    document.head.append(link);
  });
}
