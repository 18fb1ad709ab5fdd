import type { Link } from './link.ts';

import type { Location } from '../../../frontend/dist/index.js';

/** The answer to {@link lookUp}. */
export interface Found {
  /** The time of the server, as its header `Date` says it. */
  readonly date: string | null;
  readonly location?: Location;
}

/**
 * Ask for the current position, which takes less time than to connect.
 *
 * Whether the link is still good, only the connection tells: a proxy may refuse this call for reasons of its own.
 */
export async function lookUp({ token, type, id }: Link, base: URL): Promise<Found> {
  const path = `api/tracking/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;
  const response = await fetch(new URL(path, base), { headers: { Authorization: `Bearer ${token}` } });
  const date = response.headers.get('Date');
  return response.ok ? { date, location: (await response.json()) as Location } : { date };
}
