import { readDestination, type Destination } from '../destination.ts';

/** What is known of an entity besides its position: from the link, or from the metadata that the server shows. */
export interface Details {
  readonly name?: string;
  readonly status?: string;
  /** When it reached the status; ISO 8601. */
  readonly since?: string;
  readonly driver?: string;
  readonly plate?: string;
  /** When it is expected; ISO 8601. */
  readonly eta?: string;
  readonly destination?: Destination;
}

const TEXTS = ['name', 'status', 'since', 'driver', 'plate', 'eta'] as const;

/** Pick the details out of claims or metadata, which may be any JSON. */
export function readDetails(data: unknown): Details {
  if (!isObject(data)) return {};
  const found: Record<string, unknown> = {};
  for (const name of TEXTS) {
    if (typeof data[name] === 'string' && data[name] !== '') found[name] = data[name];
  }
  const destination = readDestination(data['destination']);
  if (destination !== undefined) found['destination'] = destination;
  return found as Details;
}

const RADIUS = 6_371_008.8; // mean radius of the earth, IUGG

/** The distance in metres in a straight line, on a sphere. */
export function distanceBetween(one: Destination, other: Destination): number {
  const [south, north] = [radians(one.latitude), radians(other.latitude)];
  const east = radians(other.longitude - one.longitude);
  const half = Math.sin((north - south) / 2) ** 2 + Math.cos(south) * Math.cos(north) * Math.sin(east / 2) ** 2;
  return 2 * RADIUS * Math.asin(Math.min(1, Math.sqrt(half)));
}

function radians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}

function isObject(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null;
}
