import { control, map as createLeaflet, tileLayer, type Map } from 'leaflet';

import { Basemap } from './basemap.ts';
import { onTheme } from './theme.ts';

export interface MapOptions {
  /** The folder with the offline map. */
  files: string;
  /** The template of another server's tiles, in place of the offline map; empty: none. */
  tileUrl: string;
  /** Whom to thank for them. */
  tileAttribution: string;
}

/** A map of the world in an element, without anything on it. */
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
    // some of those who give tiles away want to know for which site
    tileLayer(tileUrl, { attribution: escaped(tileAttribution), referrerPolicy: 'origin', maxZoom: 18 }).addTo(map);
    return map;
  }
  const basemap = new Basemap(files).addTo(map);
  basemap.load().catch((error: unknown) => console.warn('no basemap', error)); // the grid remains
  onTheme(() => basemap.redraw());
  return map;
}

/** Text as HTML, which is what Leaflet takes attributions for. */
function escaped(text: string): string {
  const element = document.createElement('span');
  element.textContent = text;
  return element.innerHTML;
}
