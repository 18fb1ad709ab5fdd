// Shows the banner and a map of all vehicles.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Banner } from './Banner';
import { FleetMap } from './FleetMap';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Banner />
    <FleetMap />
  </StrictMode>,
);
