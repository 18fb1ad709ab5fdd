import type { Link } from './link.ts';

import type { Location } from '../../../frontend/dist/index.js';

/** The answer to {@link lookUp}. */
export interface Found {
  /** The time of the server, as its header `Date` says it. */
  readonly date: string | null;
  readonly location?: Location;
  /** Whether the server has no current position any more, only the last known one. */
  readonly expired: boolean;
}

/**
 * Ask for the current or the last known position, which takes less time than to connect.
 *
 * Whether the link is still good, only the connection tells: a proxy may refuse this call for reasons of its own.
 */
export async function lookUp({ token, type, id }: Link, base: URL): Promise<Found> {
  const path = `api/tracking/${encodeURIComponent(type)}/${encodeURIComponent(id)}?expired=include`;
  const response = await fetch(new URL(path, base), { headers: { Authorization: `Bearer ${token}` } });
  const date = response.headers.get('Date');
  if (!response.ok) return { date, expired: false };
  const { expired = false, ...location } = (await response.json()) as Location & { expired?: boolean };
  return { date, location, expired };
}
