import { latLng, type LatLng } from 'leaflet';

/** The latitude at the edge of the Web Mercator square. */
const LIMIT = 85.051_128_779_8;

/** A place on the Web Mercator square: 0 to 1, eastwards and southwards. */
export interface Place {
  x: number;
  y: number;
}

/** The place of a position in degrees. */
export function toPlace(latitude: number, longitude: number): Place {
  return { x: longitude / 360 + 0.5, y: southOf(latitude) };
}

/** The southward coordinate of a latitude. */
export function southOf(latitude: number): number {
  const within = Math.max(-LIMIT, Math.min(LIMIT, latitude));
  return 0.5 - Math.asinh(Math.tan((within * Math.PI) / 180)) / (2 * Math.PI);
}

/** The latitude of a southward coordinate. */
export function latitudeAt(y: number): number {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** The position in degrees of a place. */
export function toLatLng({ x, y }: Place): LatLng {
  return latLng(latitudeAt(y), (x - 0.5) * 360);
}
