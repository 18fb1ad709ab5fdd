import type { Freshness } from '../freshness.ts';
import { STATES } from './query.ts';

export interface MapView {
  readonly latitude: number;
  readonly longitude: number;
  readonly zoom: number;
}

/**
 * What the fragment of the address says, such as `#vehicle/v5@52.66000,-8.63000,14?search=bus`.
 *
 * Each part may be missing. With an entity and no view, the map follows the entity.
 */
export interface Address {
  readonly entity?: { readonly type: string; readonly id: string } | undefined;
  readonly view?: MapView | undefined;
  readonly search?: string;
  /** The types that are shown; `undefined`: all. */
  readonly types?: readonly string[] | undefined;
  /** The states that are shown; `undefined`: all. */
  readonly states?: readonly Freshness[] | undefined;
}

/** Read a fragment; what it does not say rightly is left out. */
export function parseAddress(hash: string): Address {
  const [, path = '', place = '', query = ''] = /^#?([^@?]*)(?:@([^?]*))?(?:\?(.*))?$/.exec(hash) ?? [];
  const parameters = new URLSearchParams(query);
  const list = (name: string, isKnown: (value: string) => boolean = Boolean) => {
    const values = parameters.get(name)?.split(',').filter(isKnown) ?? [];
    return values.length === 0 ? undefined : values;
  };
  const isState = (state: string) => (STATES as readonly string[]).includes(state);
  return {
    entity: parseEntity(path),
    view: parseView(place),
    search: parameters.get('search') ?? '',
    types: list('types'),
    states: list('status', isState) as Freshness[] | undefined,
  };
}

function parseEntity(path: string): Address['entity'] {
  const [type = '', id = '', ...rest] = path.split('/');
  if (type === '' || id === '' || rest.length > 0) return undefined;
  try {
    return { type: decodeURIComponent(type), id: decodeURIComponent(id) };
  } catch {
    return undefined;
  }
}

function parseView(place: string): MapView | undefined {
  const [latitude = NaN, longitude = NaN, zoom = NaN] = place.split(',').map(Number.parseFloat);
  const valid = Math.abs(latitude) <= 90 && Math.abs(longitude) <= 540 && zoom >= 0 && zoom <= 22;
  return valid ? { latitude, longitude, zoom } : undefined;
}

/** Write a fragment; empty when there is nothing to say. */
export function formatAddress({ entity, view, search = '', types, states }: Address): string {
  const path = entity === undefined ? '' : `${encodeURIComponent(entity.type)}/${encodeURIComponent(entity.id)}`;
  const place =
    view === undefined
      ? ''
      : `@${view.latitude.toFixed(5)},${view.longitude.toFixed(5)},${Number(view.zoom.toFixed(2))}`;
  const parameters = [
    search === '' ? '' : `search=${encodeURIComponent(search)}`,
    types === undefined ? '' : `types=${types.map(encodeURIComponent).join(',')}`,
    states === undefined ? '' : `status=${states.join(',')}`,
  ].filter(Boolean);
  const query = parameters.length === 0 ? '' : `?${parameters.join('&')}`;
  const fragment = path + place + query;
  return fragment === '' ? '' : `#${fragment}`;
}

/** The fragment of the address of the page. */
export class AddressBar {
  /** @param went Called when the user goes back or forward, or edits the address. */
  constructor(went: (address: Address) => void) {
    addEventListener('popstate', () => went(this.read()));
  }

  read(): Address {
    return parseAddress(location.hash);
  }

  /** Write the address; `push`: going back returns to the one before. */
  write(address: Address, push: boolean): void {
    const fragment = formatAddress(address);
    if (fragment === location.hash) return;
    const url = location.pathname + location.search + fragment;
    if (push) history.pushState(null, '', url);
    else history.replaceState(null, '', url);
  }
}
