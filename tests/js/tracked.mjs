// Renders components with the project's own React hooks.
//
// Each line in is a command: {"render": [{"hook": "useVehicleTracking", "args": ["v1", "…"]}, …]}
//                            each perhaps with "token": "…", which a function returns that is new on each render,
//                            and with "options" after it; "strict": false leaves out StrictMode
//                            or {"fleet": ["v1", …], "token": "…"}: all of these, with the tracker of useTracker
//                            or {"click": "reconnect"} for what useConnection returns
// Each line out is the content of the page: the hooks' results as JSON.
// The process ends at the end of input.

import { createInterface } from 'node:readline';

import { JSDOM } from 'jsdom';

const { window } = new JSDOM('<div id="root"></div>');
globalThis.window = window;
globalThis.document = window.document;
Object.defineProperty(globalThis, 'navigator', { value: window.navigator }); // Node may have its own

const { Fragment, StrictMode, createElement, useEffect, useState } = await import('react');
const { createRoot } = await import('react-dom/client');
const hooks = await import('@atriz/realtime-client/react');

function Entity({ hook, args, token, options }) {
  const given = token === undefined ? args : [...args, () => token, options];
  const { location, connected, error, status, problem, reconnect } = hooks[hook](...given);
  if (reconnect) {
    const shown = JSON.stringify({ status, problem: problem && problem.code });
    return createElement('p', { id: 'reconnect', onClick: reconnect }, shown);
  }
  return createElement('p', null, JSON.stringify({ location, connected, error: error && error.code }));
}

function Fleet({ fleet, token }) {
  const tracker = hooks.useTracker(token);
  const [moves, setMoves] = useState(0);
  useEffect(() => {
    if (tracker === null) return undefined;
    const remove = tracker.onLocation(() => setMoves((before) => before + 1));
    void tracker.track('vehicle', fleet);
    return () => {
      remove();
      tracker.untrack('vehicle', fleet);
    };
  }, [tracker]);
  return createElement('p', null, JSON.stringify({ status: tracker && tracker.status, moves }));
}

const container = document.getElementById('root');
const observer = new window.MutationObserver(() => {
  const shown = [...container.querySelectorAll('p')].map(({ textContent }) => JSON.parse(textContent));
  process.stdout.write(JSON.stringify(shown) + '\n');
});
observer.observe(container, { childList: true, characterData: true, subtree: true });

const root = createRoot(container);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { render, click, strict = true } = JSON.parse(line);
  if (click) {
    document.getElementById(click).click();
    return;
  }
  const entities = render.map((entity, key) => createElement(entity.fleet ? Fleet : Entity, { key, ...entity }));
  root.render(createElement(strict ? StrictMode : Fragment, null, entities));
});
lines.on('close', () => process.exit());
