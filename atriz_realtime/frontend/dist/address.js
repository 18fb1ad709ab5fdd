import { TrackingError } from './model.js';
export function requireNoPath(url) {
    const path = /^[^/?#]*(\/[^?#]+)/.exec(url.replace(/^(\w+:)?\/\//, ''))?.[1];
    if (path === undefined)
        return;
    const option = `path: '${path.replace(/\/$/, '')}/socket.io/'`;
    throw new TrackingError('wrong_path', `the URL '${url}' has a path; leave it out, and use the option ${option}`);
}
export function addressOf(url, path = '/socket.io/') {
    try {
        return new URL(`${path.replace(/\/$/, '')}/`, new URL(url, globalThis.location?.href));
    }
    catch {
        return undefined;
    }
}
