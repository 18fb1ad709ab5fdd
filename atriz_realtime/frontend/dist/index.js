export { follow } from './follow.js';
export { TrackingError, } from './model.js';
export { createTracker } from './tracker.js';
