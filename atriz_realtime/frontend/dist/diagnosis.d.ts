/** Why there is no connection. */
export type Cause = 'unreachable' | 'unavailable' | 'unreadable' | 'wrong_path' | 'origin_refused';
/** What each cause means, for people. */
export declare const MEANING: Readonly<Record<Cause, string>>;
/** Causes that last until somebody changes the configuration. */
export declare const LASTING_CAUSES: readonly Cause[];
/**
 * Find out why a connection failed.
 *
 * @param status The HTTP status of the answer, if socket.io-client got one. A browser hides answers without CORS
 *   headers, such as those of a proxy, and all answers to websockets.
 * @param address Requested when there is no status; `undefined`: it is not.
 */
export declare function causeOf(status: unknown, address: URL | undefined): Promise<Cause>;
