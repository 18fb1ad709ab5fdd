import { createTracker, type LocationEvent, type Tracker } from '../../../frontend/dist/tracker.js';

import type { Link } from './link.ts';

/** How the page stands with the server. */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'ended';

/** Codes that say that the link is good no longer, or never was. */
const OVER = new Set(['invalid_token', 'not_authenticated', 'unauthorized', 'unknown_type', 'invalid_entity_id']);

/** Milliseconds until a connection that was cut for another reason is tried again, doubled each time. */
const FIRST_RETRY = 250;
const GREATEST_RETRY = 30_000;

/** Milliseconds that a connection must last for the retries before it to be forgotten. */
const LASTING = 15_000;

/** Follow what a link shows, until it has ended or is closed; nothing is heard after that. */
export function follow(
  link: Link,
  server: { origin: string; path: string },
  heard: { moved: (event: LocationEvent) => void; became: (state: State) => void },
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
    heard.became('ended');
  };
  tracker.onLocation((event) => {
    if (!over) heard.moved(event);
  });
  tracker.onError((error) => {
    code = error.code;
    if (error.entity !== undefined && OVER.has(code)) end();
  });
  tracker.onStatus((status) => {
    if (over || status === 'closed') return;
    if (status !== 'refused') {
      if (status === 'connected') [connectedAt, code] = [Date.now(), ''];
      heard.became(status);
    } else if (OVER.has(code)) {
      end();
    } else {
      // cut, which says nothing of why, or kept out by a limit: whoever asks again is told
      if (Date.now() - connectedAt > LASTING) retry = FIRST_RETRY;
      connectedAt = Infinity;
      heard.became('reconnecting');
      setTimeout(() => tracker.reconnect(), retry);
      retry = Math.min(retry * 2, GREATEST_RETRY);
    }
  });
  tracker.track(link.type, link.id).catch((error: { code: string }) => {
    if (OVER.has(error.code)) end();
  });
  return { close };
}
