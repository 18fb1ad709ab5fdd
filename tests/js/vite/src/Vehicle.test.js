// @vitest-environment jsdom
// Shows a vehicle with the documented tracker in place of the real one.
import { expect, test, vi } from 'vitest';
import { createApp, nextTick } from 'vue';
import { move } from './fake-tracker';
import Vehicle from './Vehicle.vue';

vi.mock('./tracker', () => import('./fake-tracker'));

test('a vehicle is shown where it is', async () => {
  const page = document.createElement('div');
  createApp(Vehicle, { id: 'v1' }).mount(page);
  await nextTick();
  expect(page.textContent).toBe('No position yet');
  const location = { deviceId: 'v1', userId: 'u1', latitude: 50, longitude: -8.5, timestamp: '2026-01-31T12:00:00.000Z' };
  move({ type: 'vehicle', entityId: 'v1', location });
  move({ type: 'vehicle', entityId: 'v2', location: { ...location, latitude: 60 } });
  await nextTick();
  expect(page.textContent).toContain('50, -8.5');
});
