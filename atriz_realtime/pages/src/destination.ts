import { lineOf } from './text.ts';

/** A place that an entity goes to. */
export interface Destination {
  readonly latitude: number;
  readonly longitude: number;
  readonly label?: string;
}

/** Most characters of a label that a link carries. */
const LENGTH = 100;

/** Read a destination, which may be any JSON; `undefined`: it is none. */
export function readDestination(data: unknown): Destination | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { latitude, longitude, label } = data as Record<string, unknown>;
  if (!isDegrees(latitude, 90) || !isDegrees(longitude, 180)) return undefined;
  const text = typeof label === 'string' ? lineOf(label, LENGTH) : '';
  return { latitude, longitude, ...(text !== '' && { label: text }) };
}

function isDegrees(value: unknown, most: number): value is number {
  return typeof value === 'number' && Math.abs(value) <= most;
}
