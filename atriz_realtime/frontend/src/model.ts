/** A reported position; optional fields are left out when they were not reported. */
export interface Location {
  deviceId: string;
  userId: string;
  /** Degrees north, WGS 84. */
  latitude: number;
  /** Degrees east, WGS 84. */
  longitude: number;
  /** ISO 8601 in UTC, with milliseconds. */
  timestamp: string;
  /** km/h. */
  speed?: number;
  /** Degrees clockwise from north. */
  heading?: number;
  /** Metres. */
  accuracy?: number;
  /** Metres. */
  altitude?: number;
  metadata?: Record<string, unknown>;
}

/** A position and the entity that it is of. */
export interface LocationEvent {
  /** The entity type, such as `vehicle`. */
  type: string;
  entityId: string;
  location: Location;
}

/**
 * How the tracker stands with its server.
 *
 * - `connecting`: for the first time;
 * - `connected`;
 * - `reconnecting`: the connection was lost, and comes back by itself;
 * - `refused`: the server does not want this token; {@link Tracker.reconnect} tries again;
 * - `closed`: by {@link Tracker.close}.
 */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'refused' | 'closed';

/** A refusal by the server, or a token that could not be had. */
export class TrackingError extends Error {
  override readonly name = 'TrackingError';

  constructor(
    /** The server's code, such as `unauthorized`; `token_unavailable` when the callback failed. */
    readonly code: string,
    message: string,
    /** The entity that was refused, when one was. */
    readonly entity?: { type: string; id: string },
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The string that stands for an entity in maps: types have no colon. */
export function keyOf(type: string, id: string): string {
  return `${type}:${id}`;
}
