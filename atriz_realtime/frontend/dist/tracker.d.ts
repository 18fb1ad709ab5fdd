import { type Tracker, type TrackerOptions } from './model.js';
/**
 * Connect a tracker to a server.
 *
 * @param url The scheme, host and port of the server. With a path, for which there is {@link TrackerOptions.path}, no
 *   connection is made, and the problem of the tracker has the code `wrong_path`.
 */
export declare function createTracker(url: string, options: TrackerOptions): Tracker;
