import type { Location } from '../../../frontend/dist/tracker.js';
import type { Clock } from '../clock.ts';

/** A current position in a listing. */
export interface Listed {
  entityId: string;
  location: Location;
}

/** A refusal over HTTP. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code);
  }
}

/** The server's HTTP interface, as far as the console asks it. */
export class Api {
  constructor(
    readonly base: URL,
    readonly token: string,
    readonly clock: Clock,
  ) {}

  /**
   * Every current position of a type that this user may see, a page at a time.
   *
   * @throws Refusal
   */
  async *list(type: string): AsyncGenerator<Listed[], void> {
    let cursor: string | null = null;
    do {
      const url = new URL(`api/tracking/${encodeURIComponent(type)}`, this.base);
      if (cursor !== null) url.searchParams.set('cursor', cursor);
      const page = (await this.#get(url)) as { locations: Listed[]; nextCursor: string | null };
      yield page.locations;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }

  async #get(url: URL): Promise<unknown> {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${this.token}` } });
    this.clock.set(response.headers.get('Date'));
    if (response.ok) return response.json();
    const { code = `http_${response.status}` } = (await response.json().catch(() => ({}))) as { code?: string };
    throw new Refusal(response.status, code);
  }
}
