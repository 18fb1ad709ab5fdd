import { TrackingError } from './model.js';

/** What is wrong with a URL that has a path: Socket.IO takes it for a namespace, and the server has none of that name. */
export function pathProblem(url: string): TrackingError | undefined {
  const path = /^[^/?#]*(\/[^?#]+)/.exec(url.replace(/^(\w+:)?\/\//, ''))?.[1];
  if (!path) return undefined;
  const option = `path: '${path.replace(/\/$/, '')}/socket.io/'`;
  return new TrackingError('wrong_path', `the URL '${url}' has a path; leave it out, and use the option ${option}`);
}

/** Where the server is asked why there is no connection; `undefined` for URLs that only socket.io-client understands. */
export function addressOf(url: string, path: string): URL | undefined {
  try {
    return new URL(`${path.replace(/\/$/, '')}/`, new URL(url, globalThis.location?.href));
  } catch {
    return undefined;
  }
}
