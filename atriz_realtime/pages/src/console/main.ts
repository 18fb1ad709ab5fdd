import { Console } from './console.ts';
import { element, write } from '../dom.ts';
import { loadSettings, loadShareSettings } from './settings.ts';
import { clearAddress, forgetToken, keepToken, knownToken, store, stored } from './token.ts';

/** Session storage key of the message that the sign-in shows after a reload. */
const REASON = 'atriz-realtime-reason';

/** Sign out, and reload the page so that nothing of the user remains. */
function leave(reason: string): void {
  forgetToken();
  store(REASON, reason);
  location.reload();
}

function signIn(): void {
  const [form, field, error] = [element('sign-in'), element<HTMLInputElement>('token'), element('sign-in-error')];
  element('welcome').hidden = false;
  write(error, stored(REASON) ?? '');
  store(REASON, '');
  field.focus();
  const reload = () => location.reload();
  addEventListener('hashchange', reload); // an address with a token was pasted
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const token = field.value.trim().replace(/^Bearer\s+/i, '');
    if (token === '') return;
    if (keepToken(token)) {
      reload();
      return;
    }
    removeEventListener('hashchange', reload); // a reload would forget the token
    element('welcome').hidden = true;
    open(token);
  });
}

function open(token: string): void {
  start(token).catch(() => leave('The server cannot be reached. Try again.'));
}

async function start(token: string): Promise<void> {
  const settings = await loadSettings();
  const maxLife = settings.sharing ? (await loadShareSettings()).maxLife : 0;
  element('console').hidden = false;
  element('sign-out').addEventListener('click', () => {
    clearAddress(); // it may name what only this user may know
    leave('');
  });
  new Console({ ...settings, maxLife }, token, leave);
}

const token = knownToken();
if (token === null) signIn();
else open(token);
