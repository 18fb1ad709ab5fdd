/**
 * How old a position is, in three steps that both pages share.
 *
 * - `live`: it is what is happening now; speed and heading are shown.
 * - `stale`: nothing has been heard for a while; speed and heading are no longer shown.
 * - `offline`: the server has no current position any more, only the last known one.
 */
export type Freshness = 'live' | 'stale' | 'offline';

/** Ages in seconds at which a position stops being live, and at which its entity is offline. */
export interface FreshnessLimits {
  readonly staleAfter: number;
  readonly offlineAfter: number;
}

/**
 * The freshness of a position.
 *
 * @param age Seconds since the position was recorded.
 * @param expired Whether the server says that it is no longer the current position.
 */
export function freshnessOf(age: number, expired: boolean, { staleAfter, offlineAfter }: FreshnessLimits): Freshness {
  if (expired || age >= offlineAfter) return 'offline';
  return age >= staleAfter ? 'stale' : 'live';
}

/** Median lag of updates in milliseconds from which a connection is called delayed instead of live. */
export const DELAYED = 2_000;
