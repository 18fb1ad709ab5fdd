import { REACH, SHAPES, shapeOf } from './outlines.ts';

const SVG = 'http://www.w3.org/2000/svg';

/** An icon with the shape of a kind, as on the map; the style sheet sets its colour. */
export function glyph(): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `${-REACH} ${-REACH} ${2 * REACH} ${2 * REACH}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'path'));
  return svg;
}

/** Set the kind that an icon shows. */
export function setKind(svg: SVGSVGElement, kind: number): void {
  svg.setAttribute('class', `glyph kind-${kind % SHAPES.length}`);
  svg.firstElementChild?.setAttribute('d', shapeOf(kind));
}
