import { control, map as createLeaflet, tileLayer, type Map } from 'leaflet';

import { addBasemap } from './basemap.ts';
import { isDark, onTheme } from './theme.ts';

export interface MapOptions {
  /** The folder of the files that maps load. */
  files: string;
  /** URL of a PMTiles file with streets; empty: none. */
  basemap: string;
  /** URL template of a tile server, to use instead of these; empty: none. */
  tileUrl: string;
  /** The same for dark systems; empty: `tileUrl`. */
  tileUrlDark: string;
  /** Attribution of the tiles. */
  tileAttribution: string;
  /** Whether the map shows the world, until it is given a view; otherwise it shows and loads nothing. */
  world?: boolean;
}

/** Create an empty map in an element. */
export function createMap(element: HTMLElement, options: MapOptions): Map {
  const { files, basemap, tileUrl, tileUrlDark, tileAttribution, world = true } = options;
  const map = createLeaflet(element, {
    ...(world ? { center: [30, 0], zoom: 2 } : {}),
    minZoom: 2,
    maxZoom: 18,
    maxBounds: [
      [-85, -540],
      [85, 540],
    ],
    worldCopyJump: true,
    zoomControl: false,
    attributionControl: false,
  });
  control.zoom({ position: 'topright' }).addTo(map);
  control.attribution({ position: 'bottomright', prefix: 'Leaflet' }).addTo(map);
  control.scale({ position: 'bottomright', imperial: false }).addTo(map);
  if (tileUrl === '') {
    addBasemap(map, files, basemap, (text) => attribution(withoutMarkup(text)));
    return map;
  }
  const url = () => (isDark() && tileUrlDark !== '' ? tileUrlDark : tileUrl);
  // some tile servers require the origin as referrer
  const tiles = tileLayer(url(), { attribution: attribution(tileAttribution), referrerPolicy: 'origin', maxZoom: 18 });
  tiles.addTo(map);
  if (tileUrlDark !== '') onTheme(() => tiles.setUrl(url()));
  return map;
}

/** The text of an attribution that has markup; nothing in it is run or loaded. */
function withoutMarkup(text: string): string {
  return new DOMParser().parseFromString(text, 'text/html').body.textContent;
}

/** An attribution for Leaflet, with the link that the license of OpenStreetMap asks for. */
function attribution(text: string): string {
  const link = '<a href="https://www.openstreetmap.org/copyright" target="_blank" rel="noreferrer">OpenStreetMap</a>';
  return escaped(text).replace('OpenStreetMap', link);
}

/** Escape a text, since Leaflet treats attributions as HTML. */
function escaped(text: string): string {
  const element = document.createElement('span');
  element.textContent = text;
  return element.innerHTML;
}
