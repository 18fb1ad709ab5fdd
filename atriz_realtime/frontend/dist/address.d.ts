import { TrackingError } from './model.js';
/** What is wrong with a URL that has a path: Socket.IO takes it for a namespace, and the server has none of that name. */
export declare function pathProblem(url: string): TrackingError | undefined;
/** Where the server is asked why there is no connection; `undefined` for URLs that only socket.io-client understands. */
export declare function addressOf(url: string, path: string): URL | undefined;
