import { createTracker, type LocationEvent, type Tracker } from '../../../frontend/dist/index.js';

import type { Link } from './link.ts';

/** The state of the connection, or of the link. */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'origin_refused' | 'ended';

/** Error codes that mean that the link has ended or is invalid. */
const FINAL = new Set(['invalid_token', 'not_authenticated', 'unauthorized', 'unknown_type', 'invalid_entity_id']);

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
  const down = (state: State) => listeners.became(code === 'origin_refused' ? code : state);
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
  });
  tracker.onStatus((status) => {
    if (over || status === 'closed') return;
    if (status !== 'refused') {
      if (status === 'connected') [connectedAt, code] = [Date.now(), ''];
      down(status);
    } else if (FINAL.has(code)) {
      end();
    } else {
      // the connection was closed without a reason, or a limit was reached: connect again to find out
      if (Date.now() - connectedAt > LASTING) retry = FIRST_RETRY;
      connectedAt = Infinity;
      down('reconnecting');
      setTimeout(() => tracker.reconnect(), retry);
      retry = Math.min(retry * 2, LONGEST_RETRY);
    }
  });
  tracker.track(link.type, link.id).catch((error: { code: string }) => {
    if (FINAL.has(error.code)) end();
  });
  return { close };
}
