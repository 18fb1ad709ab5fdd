import { TrackingError } from './model.js';

/**
 * Refuse a URL with a path: Socket.IO takes that as the name of a namespace, which the server does not have.
 *
 * @throws TrackingError with the code `wrong_path`.
 */
export function requireNoPath(url: string): void {
  const path = /^[^/?#]*(\/[^?#]+)/.exec(url.replace(/^(\w+:)?\/\//, ''))?.[1];
  if (path === undefined) return;
  const option = `path: '${path.replace(/\/$/, '')}/socket.io/'`;
  throw new TrackingError('wrong_path', `the URL '${url}' has a path; leave it out, and use the option ${option}`);
}

/** Where the server is asked why there is no connection; `undefined` for URLs that only socket.io-client understands. */
export function addressOf(url: string, path = '/socket.io/'): URL | undefined {
  try {
    return new URL(`${path.replace(/\/$/, '')}/`, new URL(url, globalThis.location?.href));
  } catch {
    return undefined;
  }
}
