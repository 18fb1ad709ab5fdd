import {
  createTracker,
  type LocationEvent,
  type Status,
  type Tracker,
  type TrackingError,
} from '../../../frontend/dist/index.js';

export interface Listeners {
  moved(event: LocationEvent): void;
  status(status: Status): void;
  /** The user may not track an entity. */
  refused(type: string, id: string): void;
  /** A refusal that concerns no single entity. */
  failed(error: TrackingError): void;
}

interface Connection {
  readonly tracker: Tracker;
  readonly followed: Set<string>;
}

/** From the worst to the best. */
const STATUSES: readonly Status[] = ['closed', 'refused', 'reconnecting', 'connecting', 'connected'];

/** As many connections as all entities need; the server limits the entities of each. */
export class Connections {
  readonly #connections: Connection[] = [];
  #status: Status = 'connecting';

  constructor(
    readonly base: URL,
    readonly token: string,
    readonly limit: number,
    readonly listeners: Listeners,
  ) {
    this.#connect();
  }

  /** The worst status of all connections. */
  get status(): Status {
    return this.#status;
  }

  track(type: string, ids: readonly string[]): void {
    let rest = [...ids];
    while (rest.length > 0) {
      const { tracker, followed } = this.#connections.find(({ followed }) => followed.size < this.limit) ?? this.#connect();
      const part = rest.slice(0, this.limit - followed.size);
      rest = rest.slice(part.length);
      for (const id of part) {
        followed.add(`${type}:${id}`);
        tracker.track(type, id).catch((error: TrackingError) => {
          if (error.entity !== undefined) this.#refused(tracker, followed, type, id); // else it is reported by onError
        });
      }
    }
  }

  untrack(type: string, id: string): void {
    const key = `${type}:${id}`;
    const found = this.#connections.find(({ followed }) => followed.delete(key));
    found?.tracker.untrack(type, id);
  }

  /** Whether the server accepts no connection from this page. Browsers name the origin with a POST, not with a GET. */
  async isOriginRefused(): Promise<boolean> {
    const asked = fetch(new URL('socket.io/?EIO=4&transport=polling', this.base), { method: 'POST' });
    return asked.then(
      ({ status }) => status === 403,
      () => false, // the server cannot be reached
    );
  }

  /** Connect again where the server refused. */
  reconnect(): void {
    for (const { tracker } of this.#connections) tracker.reconnect();
  }

  close(): void {
    for (const { tracker } of this.#connections) tracker.close();
  }

  #connect(): Connection {
    const tracker = createTracker(this.base.origin, {
      // a function, so that the tracker reconnects when a server that restarts closes the connection
      token: () => this.token,
      path: `${this.base.pathname}socket.io/`,
    });
    const connection = { tracker, followed: new Set<string>() };
    tracker.onLocation((event) => this.listeners.moved(event));
    tracker.onStatus(() => this.#changed());
    tracker.onError((error) => {
      const { entity } = error;
      if (entity === undefined) this.listeners.failed(error);
      else this.#refused(tracker, connection.followed, entity.type, entity.id);
    });
    this.#connections.push(connection);
    return connection;
  }

  #refused(tracker: Tracker, followed: Set<string>, type: string, id: string): void {
    tracker.untrack(type, id); // or it would be tracked once there is room
    followed.delete(`${type}:${id}`);
    this.listeners.refused(type, id);
  }

  #changed(): void {
    const statuses = new Set(this.#connections.map(({ tracker }) => tracker.status));
    const status = STATUSES.find((each) => statuses.has(each)) ?? 'closed';
    if (status === this.#status) return;
    this.#status = status;
    this.listeners.status(status);
  }
}
