import { TrackingError } from './model.js';
export function pathProblem(url) {
    const path = /^[^/?#]*(\/[^?#]+)/.exec(url.replace(/^(\w+:)?\/\//, ''))?.[1];
    if (!path)
        return undefined;
    const option = `path: '${path.replace(/\/$/, '')}/socket.io/'`;
    return new TrackingError('wrong_path', `the URL '${url}' has a path; leave it out, and use the option ${option}`);
}
export function addressOf(url, path) {
    try {
        return new URL(`${path.replace(/\/$/, '')}/`, new URL(url, globalThis.location?.href));
    }
    catch {
        return undefined;
    }
}
