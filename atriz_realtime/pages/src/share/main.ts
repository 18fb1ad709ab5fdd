import { Clock } from '../clock.ts';
import { element, write } from '../dom.ts';
import { follow, type State } from './connection.ts';
import { linkOf, type Link } from './link.ts';
import { Place } from './place.ts';
import { duration, moment } from './time.ts';

import type { Location } from '../../../frontend/dist/index.js';

/** Milliseconds after which a position is no longer live. */
const STALE = 60_000;

/** Milliseconds after the end of the link for which the page waits for the server to end it. */
const GRACE = 5_000;

const WORDS = {
  connecting: 'Connecting…',
  reconnecting: 'Reconnecting…',
  origin_refused: 'Not connected',
  waiting: 'Connected',
  live: 'Live',
  stale: 'No news',
  ended: 'Ended',
};

const REFUSED = 'The server does not accept connections from this address. Please tell whoever sent you the link.';

const COMPASS = ['north', 'north-east', 'east', 'south-east', 'south', 'south-west', 'west', 'north-west'];

/** Remove the position from the page; the text does not tell why the link is not valid. */
function showEnd(): void {
  element('live').remove();
  element('over').hidden = false;
  document.title = 'This sharing has ended';
  element('over').querySelector('h1')?.focus();
}

function show(link: Link): void {
  const base = new URL('..', location.href);
  const { basemap = '', tileUrl = '', tileUrlDark = '', tileAttribution = '' } = document.body.dataset;
  const place = new Place(element('map'), link.id, {
    files: 'files/',
    basemap,
    tileUrl,
    tileUrlDark,
    tileAttribution,
  });
  let state: State = 'connecting';
  let last: Location | undefined;
  const clock = new Clock();

  write(element('type'), link.type);
  write(element('name'), link.id);
  document.title = `${link.id} – live position`;
  const button = element('follow');
  button.addEventListener('click', () => place.follow());
  place.onFollow((following) => (button.hidden = following || last === undefined));

  const draw = () => {
    const now = clock.now();
    const left = link.endsAt - now;
    if (left < -GRACE && performance.now() > GRACE && state !== 'connected') return end();
    write(element('end'), `Sharing ends ${moment(link.endsAt, now)}${left > 0 ? ` (in ${duration(left)})` : ''}`);
    const age = last === undefined ? undefined : Math.max(0, now - Date.parse(last.timestamp));
    const stale = age !== undefined && age > STALE;
    element('age').toggleAttribute('data-stale', stale);
    if (age === undefined) {
      write(element('age'), state === 'origin_refused' ? REFUSED : 'No position yet');
    } else {
      write(element('age'), age < 2_000 ? 'Updated just now' : `Updated ${duration(age)} ago`);
      place.fade(age, STALE);
    }
    const word = state !== 'connected' ? state : age === undefined ? 'waiting' : stale ? 'stale' : 'live';
    element('state').dataset['state'] = word;
    write(element('state'), WORDS[word]);
  };
  const end = () => {
    clearInterval(ticking);
    connection.close();
    place.remove();
    showEnd();
  };
  const ticking = setInterval(draw, 1_000);
  const connection = follow(link, { origin: base.origin, path: `${base.pathname}socket.io/` }, {
    moved: ({ location: found }) => {
      last = found;
      place.move(found.latitude, found.longitude, found.heading);
      write(element('motion'), motionOf(found));
      element('motion').hidden = motionOf(found) === '';
      draw();
    },
    became: (now) => {
      state = now;
      if (state === 'ended') end();
      else draw();
    },
  });
  draw();
  fetch('', { method: 'HEAD' }).then(
    ({ headers }) => clock.set(headers.get('Date')),
    () => undefined, // use the clock of this device
  );
}

function motionOf({ speed, heading }: Location): string {
  const parts = [];
  if (speed !== undefined) parts.push(`${Math.round(speed)} km/h`);
  if (heading !== undefined && speed !== 0) parts.push(`heading ${COMPASS[Math.round(heading / 45) % 8]}`);
  return parts.join(', ');
}

const link = linkOf(location);
if (link === undefined) {
  showEnd();
} else {
  // move the token out of the path, so that later requests do not carry it
  if (location.hash === '') history.replaceState(null, '', `./#${link.token}`);
  addEventListener('hashchange', () => location.reload());
  show(link);
}
