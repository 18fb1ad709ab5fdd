// @vitest-environment jsdom
// Follows a vehicle on a real server.
import { createTracker, follow } from '@atriz/realtime-client';
import { expect, test } from 'vitest';
import live from './live.json';

test('a position arrives', async () => {
  const tracker = createTracker(live[0], { token: live[1] });
  const latitude = await new Promise((resolve) => {
    follow(tracker, 'vehicle', 'v1', ({ location }) => location && resolve(location.latitude));
  });
  expect(latitude).toBe(50);
  tracker.close();
});
