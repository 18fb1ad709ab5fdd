export { follow, type Tracking } from './follow.js';
export {
  TrackingError,
  type ErrorCode,
  type Location,
  type LocationEvent,
  type Status,
  type Token,
  type Tracker,
  type TrackerOptions,
} from './model.js';
export { createTracker } from './tracker.js';
