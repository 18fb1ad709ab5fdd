export { follow, type Tracking } from './follow.js';
export { TrackingError, type Location, type LocationEvent, type Status } from './model.js';
export { createTracker, type Token, type Tracker, type TrackerOptions } from './tracker.js';
