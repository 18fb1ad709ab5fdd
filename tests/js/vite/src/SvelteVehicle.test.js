// @vitest-environment jsdom
// Shows a vehicle with the documented tracker in place of the real one.
import { flushSync, mount } from 'svelte';
import { expect, test, vi } from 'vitest';
import { move } from './fake-tracker';
import Vehicle from './Vehicle.svelte';

vi.mock('./tracker', () => import('./fake-tracker'));

test('a vehicle is shown where it is', () => {
  const page = document.createElement('div');
  mount(Vehicle, { target: page, props: { id: 'v1' } });
  flushSync();
  expect(page.textContent).toBe('No position yet');
  const location = { deviceId: 'v1', userId: 'u1', latitude: 50, longitude: -8.5, timestamp: '2026-01-31T12:00:00.000Z' };
  move({ type: 'vehicle', entityId: 'v1', location });
  flushSync();
  expect(page.textContent).toContain('50, -8.5');
});
