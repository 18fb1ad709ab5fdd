import type { Destination } from '../destination.ts';

import { divIcon, marker, type Marker } from 'leaflet';

const SVG = 'http://www.w3.org/2000/svg';

/** The outline of the pin in a box of 32 by 40; its point is at 16, 39. */
const OUTLINE = 'M16 39C16 39 3 25 3 15a13 13 0 0 1 26 0c0 10-13 24-13 24Z';

/** A pin at a destination, with a label below it. */
export function pinAt({ latitude, longitude, label }: Destination, fallback: string): Marker {
  const html = document.createElement('div');
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 32 40');
  svg.setAttribute('aria-hidden', 'true');
  const outline = document.createElementNS(SVG, 'path');
  outline.setAttribute('d', OUTLINE);
  const dot = document.createElementNS(SVG, 'circle');
  dot.setAttribute('cx', '16');
  dot.setAttribute('cy', '15');
  dot.setAttribute('r', '5');
  svg.append(outline, dot);
  const text = document.createElement('span');
  text.textContent = label ?? fallback;
  html.append(svg, text);
  const icon = divIcon({ html, className: 'pin', iconSize: [32, 40], iconAnchor: [16, 39] });
  return marker([latitude, longitude], { icon, interactive: false, keyboard: false });
}
