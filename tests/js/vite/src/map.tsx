// Shows the banner and a map of all vehicles.
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Banner } from './Banner';
import { FleetMap } from './FleetMap';

function Page() {
  const [login, setLogin] = useState('ana');
  Object.assign(window, { setLogin });
  return (
    <>
      <Banner login={login} />
      <FleetMap login={login} />
    </>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
