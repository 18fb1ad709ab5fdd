import type { Location } from '../../../frontend/dist/index.js';
import type { Clock } from '../clock.ts';
import type { Destination } from '../destination.ts';

/** An entry of a listing. */
export interface Listed {
  readonly entityId: string;
  readonly location: Location;
  /** Whether the location is only the last known one. */
  readonly expired?: boolean;
}

/** What a link says of its entity; what is left out comes from the metadata, as far as the server shows it. */
export interface Said {
  readonly name?: string;
  readonly destination?: Destination;
}

/** A link that shows an entity to whoever has it. */
export interface Share {
  readonly id: string;
  readonly url: string;
  readonly name?: string;
  /** ISO 8601. */
  readonly expiresAt: string;
}

/** An error response of the HTTP interface. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The part of the HTTP interface that the console uses. */
export class Api {
  constructor(
    readonly base: URL,
    readonly token: string,
    readonly clock: Clock,
  ) {}

  /**
   * The positions of a type that the user may see, current and last known ones, page by page.
   *
   * @throws Refusal
   */
  async *list(type: string): AsyncGenerator<readonly Listed[], void> {
    let cursor: string | null = null;
    do {
      const url = new URL(`api/tracking/${encodeURIComponent(type)}?expired=include`, this.base);
      if (cursor !== null) url.searchParams.set('cursor', cursor);
      const page = (await this.#call('GET', url)) as { locations: Listed[]; nextCursor: string | null };
      yield page.locations;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }

  /**
   * Make a link to an entity.
   *
   * @throws Refusal
   */
  async share(type: string, entityId: string, seconds: number, said: Said): Promise<Share> {
    const url = new URL('api/tracking/shares', this.base);
    return (await this.#call('POST', url, { type, entityId, seconds, ...said })) as Share;
  }

  /**
   * End a link that this user has made.
   *
   * @throws Refusal
   */
  async unshare(id: string): Promise<void> {
    await this.#call('DELETE', new URL(`api/tracking/shares/${encodeURIComponent(id)}`, this.base));
  }

  async #call(method: string, url: URL, body?: object): Promise<unknown> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const response = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    this.clock.set(response.headers.get('Date'));
    if (response.ok) return response.json();
    const { code = `http_${response.status}`, message = code } = (await response.json().catch(() => ({}))) as {
      code?: string;
      message?: string;
    };
    throw new Refusal(response.status, code, message);
  }
}
