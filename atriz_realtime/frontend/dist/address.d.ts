/**
 * Refuse a URL with a path: Socket.IO takes that as the name of a namespace, which the server does not have.
 *
 * @throws TrackingError with the code `wrong_path`.
 */
export declare function requireNoPath(url: string): void;
/** Where the server is asked why there is no connection; `undefined` for URLs that only socket.io-client understands. */
export declare function addressOf(url: string, path?: string): URL | undefined;
