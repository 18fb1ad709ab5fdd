import { readDetails, type Details } from './details.ts';

/** The claims of a link; only the server can verify them. */
export interface Link {
  token: string;
  type: string;
  id: string;
  /** Milliseconds since the epoch. */
  endsAt: number;
  /** What its creator says about the entity. */
  details: Details;
}

/** Parse the address of the page: the token is its fragment, or the last part of its path. */
export function linkOf({ hash, pathname }: { hash: string; pathname: string }): Link | undefined {
  const token = hash.length > 1 ? hash.slice(1) : pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    const claims = JSON.parse(decoded(token.split('.')[1] ?? '')) as Record<string, unknown>;
    const { type, id, exp } = claims;
    if (typeof type !== 'string' || typeof id !== 'string' || typeof exp !== 'number') return undefined;
    return { token, type, id, endsAt: exp * 1_000, details: readDetails(claims) };
  } catch {
    return undefined;
  }
}

function decoded(part: string): string {
  const bytes = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes, (each) => each.charCodeAt(0)));
}
