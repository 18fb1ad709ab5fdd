import { control, map as createLeaflet, tileLayer, type Map } from 'leaflet';

import { Basemap } from './basemap.ts';
import { onTheme } from './theme.ts';

export interface MapOptions {
  /** The folder of the offline map. */
  files: string;
  /** URL template of a tile server, to use instead of the offline map; empty: none. */
  tileUrl: string;
  /** Attribution of the tiles. */
  tileAttribution: string;
}

/** Create an empty map of the world in an element. */
export function createMap(element: HTMLElement, { files, tileUrl, tileAttribution }: MapOptions): Map {
  const map = createLeaflet(element, {
    center: [30, 0],
    zoom: 2,
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
  if (tileUrl !== '') {
    // some tile servers require the origin as referrer
    tileLayer(tileUrl, { attribution: escaped(tileAttribution), referrerPolicy: 'origin', maxZoom: 18 }).addTo(map);
    return map;
  }
  const basemap = new Basemap(files).addTo(map);
  basemap.load().catch((error: unknown) => console.warn('no basemap', error)); // the grid remains
  onTheme(() => basemap.redraw());
  return map;
}

/** Escape a text, since Leaflet treats attributions as HTML. */
function escaped(text: string): string {
  const element = document.createElement('span');
  element.textContent = text;
  return element.innerHTML;
}
