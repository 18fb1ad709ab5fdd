// Renders a component with the documented React hook, readme/useVehicleTracking.ts, unchanged.
//
// Each line in is a command: {"render": {"vehicleId": "v1", "token": "…"}}, or {"unmount": true}.
// Each line out is the content of the page: the hook's result as JSON, or null when it is empty.
// The process ends at the end of input.

import { createInterface } from 'node:readline';

import { JSDOM } from 'jsdom';

const { window } = new JSDOM('<div id="root"></div>');
globalThis.window = window;
globalThis.document = window.document;
Object.defineProperty(globalThis, 'navigator', { value: window.navigator }); // Node may have its own

const { StrictMode, createElement } = await import('react');
const { createRoot } = await import('react-dom/client');
const { useVehicleTracking } = await import('./readme/useVehicleTracking.ts');

function Vehicle({ vehicleId, token }) {
  const tracking = useVehicleTracking(vehicleId, token);
  return createElement('p', null, JSON.stringify(tracking));
}

const container = document.getElementById('root');
const observer = new window.MutationObserver(() => {
  process.stdout.write((container.textContent || 'null') + '\n');
});
observer.observe(container, { childList: true, characterData: true, subtree: true });

const root = createRoot(container);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  if (command.unmount) root.unmount();
  else root.render(createElement(StrictMode, null, createElement(Vehicle, command.render)));
});
lines.on('close', () => process.exit());
