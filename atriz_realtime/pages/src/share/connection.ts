import { createTracker, type LocationEvent, type Tracker } from '../../../frontend/dist/index.js';

import type { Link } from './link.ts';

/** The state of the connection, or of the link; `barred` while the server does not accept the page's origin. */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'barred' | 'ended';

/** Error codes that mean that the link has ended or is invalid. */
const FINAL = new Set(['invalid_token', 'not_authenticated', 'unauthorized', 'unknown_type', 'invalid_entity_id']);

/** The error code that means that the server does not accept the origin of the page. */
const BARRED = 'origin_refused';

/** Milliseconds before a connection that ended for another reason is tried again, doubled each time. */
const FIRST_RETRY = 250;
const LONGEST_RETRY = 30_000;

/** A connection that lasted so many milliseconds resets the delay of retries. */
const LASTING = 15_000;

/** Track the entity of a link, until the link ends or the caller closes; after that no listener is called. */
export function follow(
  link: Link,
  server: { origin: string; path: string },
  listeners: { moved: (event: LocationEvent) => void; became: (state: State) => void },
): { close: () => void } {
  let retry = FIRST_RETRY;
  let connectedAt = Infinity;
  let over = false;
  let code = '';
  const tracker: Tracker = createTracker(server.origin, { token: link.token, path: server.path });

  const close = () => {
    over = true;
    tracker.close();
  };
  const end = () => {
    if (over) return;
    close();
    listeners.became('ended');
  };
  tracker.onLocation((event) => {
    if (!over) listeners.moved(event);
  });
  tracker.onError((error) => {
    code = error.code;
    if (error.entity !== undefined && FINAL.has(code)) end();
    else if (!over && code === BARRED) listeners.became('barred');
  });
  tracker.onStatus((status) => {
    if (over || status === 'closed') return;
    if (status !== 'refused') {
      if (status === 'connected') [connectedAt, code] = [Date.now(), ''];
      listeners.became(code === BARRED ? 'barred' : status);
    } else if (FINAL.has(code)) {
      end();
    } else {
      // the connection was closed without a reason, or a limit was reached: connect again to find out
      if (Date.now() - connectedAt > LASTING) retry = FIRST_RETRY;
      connectedAt = Infinity;
      listeners.became(code === BARRED ? 'barred' : 'reconnecting');
      setTimeout(() => tracker.reconnect(), retry);
      retry = Math.min(retry * 2, LONGEST_RETRY);
    }
  });
  tracker.track(link.type, link.id).catch((error: { code: string }) => {
    if (FINAL.has(error.code)) end();
  });
  return { close };
}
