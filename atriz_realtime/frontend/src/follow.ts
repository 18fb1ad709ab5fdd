import type { Location, Tracker, TrackingError } from './model.js';

/** What is known of an entity, for a view that shows it. */
export interface Tracking {
  /** The newest position; `null` until one has arrived. */
  location: Location | null;
  /** Whether the server accepts the connection. The `timestamp` of `location` says how old it is. */
  connected: boolean;
  /** Why the entity is not tracked; `null` while it is, and while the connection is made again. */
  error: TrackingError | null;
}

/**
 * Track an entity, and call a function with what is known of it: once before this returns, and after each change.
 *
 * The hooks of React are made from it, and so are views in other frameworks.
 *
 * @returns A function that ends it: it removes the listeners and undoes the call of {@link Tracker.track}.
 */
export function follow(tracker: Tracker, type: string, id: string, changed: (now: Tracking) => void): () => void {
  let now: Tracking = {
    location: tracker.last(type, id)?.location ?? null,
    connected: tracker.status === 'connected',
    error: null,
  };
  let ended = false;
  const update = (change: Partial<Tracking>) => {
    if (!ended) changed((now = { ...now, ...change }));
  };
  update({});
  const removals = [
    tracker.onLocation(({ location }) => update({ location, error: null }), type, id),
    tracker.onStatus((status) => {
      const lasting = now.error?.entity ? now.error : null; // the server refused the entity, whatever the connection
      update({ connected: status === 'connected', error: status === 'refused' ? tracker.problem : lasting });
    }),
    tracker.onError((error) => {
      if (error.entity?.type === type && error.entity.id === id) update({ error });
    }),
  ];
  tracker.track(type, id).catch((error: TrackingError) => update({ error }));
  return () => {
    if (ended) return;
    ended = true;
    for (const remove of removals) remove();
    tracker.untrack(type, id);
  };
}
