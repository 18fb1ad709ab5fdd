import { readDetails, type Details } from './details.ts';

/** Milliseconds to or from the epoch up to which there are dates (ECMA-262, section 21.4.1.1). */
const LAST_DATE = 8.64e15;

/** The claims of a link, which only the server can verify: until it has, nothing but the end may be shown. */
export interface Link {
  token: string;
  type: string;
  id: string;
  /** Milliseconds since the epoch. */
  endsAt: number;
  /** What its creator says about the entity: no more than a name and a destination. */
  details: Pick<Details, 'name' | 'destination'>;
}

/** Parse the address of the page: the token is its fragment, or the last part of its path. */
export function linkOf({ hash, pathname }: { hash: string; pathname: string }): Link | undefined {
  const token = hash.length > 1 ? hash.slice(1) : pathname.slice(pathname.lastIndexOf('/') + 1);
  try {
    const claims = JSON.parse(decoded(token.split('.')[1] ?? '')) as Record<string, unknown>;
    const { type, id, exp, name, destination } = claims;
    if (typeof type !== 'string' || typeof id !== 'string' || typeof exp !== 'number') return undefined;
    const endsAt = exp * 1_000;
    if (Math.abs(endsAt) > LAST_DATE) return undefined;
    return { token, type, id, endsAt, details: readDetails({ name, destination }) };
  } catch {
    return undefined;
  }
}

function decoded(part: string): string {
  const bytes = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes, (each) => each.charCodeAt(0)));
}
