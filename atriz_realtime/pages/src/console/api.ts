import type { Location } from '../../../frontend/dist/index.js';
import type { Clock } from '../clock.ts';

/** An entry of a listing. */
export interface Listed {
  entityId: string;
  location: Location;
}

/** An error response of the HTTP interface. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code);
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
   * The current positions of a type that the user may see, page by page.
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
