// A page of components that track entities; the bundler resolves the module of the hooks.
//
// It renders the components that its fragment lists as JSON: [{"hook": "useVehicleTracking", "args": ["v1", "…"]}, …].
// Each component is a dot at the position of the entity, and the hook's result as text.

import * as hooks from 'hooks';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

function Entity({ hook, args }) {
  const { location, connected, error } = hooks[hook](...args);
  const place = location && { left: `${location.longitude + 180}px`, top: `${90 - location.latitude}px` };
  return (
    <article data-connected={connected} data-error={error?.code}>
      <output>{location && `${location.latitude}, ${location.longitude}`}</output>
      {place && <i style={{ position: 'absolute', ...place }}>●</i>}
    </article>
  );
}

const root = createRoot(document.getElementById('root'));

function render() {
  const entities = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  root.render(
    <StrictMode>
      {entities.map((entity, key) => (
        <Entity key={key} {...entity} />
      ))}
    </StrictMode>,
  );
}

addEventListener('hashchange', render);
render();
