/** Why there is no connection. */
export type Cause = 'unreachable' | 'unavailable' | 'unreadable' | 'wrong_path' | 'origin_refused';

/** What each cause means, for people. */
export const MEANING: Readonly<Record<Cause, string>> = {
  unreachable: 'the server does not answer',
  unavailable: 'the server is not ready',
  unreadable: 'something answers, but this page may not read it',
  wrong_path: 'there is no realtime server at this path',
  origin_refused: 'the server does not accept this page',
};

/** Causes that last until somebody changes the configuration. */
export const LASTING_CAUSES: readonly Cause[] = ['wrong_path', 'origin_refused'];

/** Milliseconds that each of the requests which look for the cause may take. */
const PROBE_TIMEOUT = 5_000;

/**
 * Find out why a connection failed.
 *
 * @param status The HTTP status of the answer, if socket.io-client got one. A browser hides answers without CORS
 *   headers, such as those of a proxy, and all answers to websockets.
 * @param address Requested when there is no status; `undefined`: it is not.
 */
export async function causeOf(status: unknown, address: URL | undefined): Promise<Cause> {
  if (Number(status) > 0) return meant(Number(status));
  if (!address) return 'unreachable';
  for (const mode of ['cors', 'no-cors'] as const) {
    try {
      const answer = await fetch(address, { mode, cache: 'no-store', signal: AbortSignal.timeout(PROBE_TIMEOUT) });
      return mode === 'cors' ? meant(answer.status) : 'unreadable';
    } catch {
      // there is no answer, or none that this page may read
    }
  }
  return 'unreachable';
}

function meant(status: number): Cause {
  if (status === 403) return 'origin_refused';
  if (status < 400 || status === 404 || status === 405 || status === 410) return 'wrong_path';
  if (status >= 500 || status === 408 || status === 429) return 'unavailable';
  return 'unreachable'; // a realtime server, which refuses this request: something else is in the way
}
