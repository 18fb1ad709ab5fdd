import { latLng, type LatLng } from 'leaflet';

/** The latitude where Web Mercator's square ends. */
const LIMIT = 85.051_128_779_8;

/** A place on the square of Web Mercator: 0 to 1 east and south. */
export interface Place {
  x: number;
  y: number;
}

/** Where a position in degrees is on the square. */
export function toPlace(latitude: number, longitude: number): Place {
  return { x: longitude / 360 + 0.5, y: southOf(latitude) };
}

/** How far south on the square a latitude is. */
export function southOf(latitude: number): number {
  const within = Math.max(-LIMIT, Math.min(LIMIT, latitude));
  return 0.5 - Math.asinh(Math.tan((within * Math.PI) / 180)) / (2 * Math.PI);
}

/** The latitude of what is so far south on the square. */
export function latitudeAt(y: number): number {
  return (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
}

/** The position in degrees of a place on the square. */
export function toLatLng({ x, y }: Place): LatLng {
  return latLng(latitudeAt(y), (x - 0.5) * 360);
}
