/** A reported position; fields that were not reported are absent. */
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

/** The position of an entity. */
export interface LocationEvent {
  /** The entity type, such as `vehicle`. */
  type: string;
  entityId: string;
  location: Location;
}

/**
 * The state of the connection to the server.
 *
 * - `connecting`: the first connection is being made;
 * - `connected`: there is a connection, and the server accepts its token;
 * - `reconnecting`: the connection was lost, and the tracker makes a new one by itself;
 * - `refused`: the server refuses the token, or this path or page; {@link Tracker.reconnect} tries again;
 * - `closed`: {@link Tracker.close} was called.
 */
export type Status = 'connecting' | 'connected' | 'reconnecting' | 'refused' | 'closed';

/** The server refused something or was not reached, or the token callback failed. */
export class TrackingError extends Error {
  override readonly name = 'TrackingError';

  constructor(
    /**
     * The error code of the server, such as `unauthorized`; or one of the client: `token_unavailable`, `unreachable`,
     * `unreadable`, `unavailable`, `wrong_path`, `origin_refused`, `refused` or `closed`.
     */
    readonly code: string,
    message: string,
    /** The entity that was refused, if it was one. */
    readonly entity?: { type: string; id: string },
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The key of an entity in maps; it is unique, since types have no colon. */
export function keyOf(type: string, id: string): string {
  return `${type}:${id}`;
}
