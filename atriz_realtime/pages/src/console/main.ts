import { Console } from './console.ts';
import { element, write } from '../dom.ts';
import { loadSettings } from './settings.ts';
import { forgetToken, keepToken, knownToken } from './token.ts';

/** Session storage key of the message that the sign-in shows after a reload. */
const REASON = 'atriz-realtime-reason';

/** Sign out, and reload the page so that nothing of the user remains. */
function leave(reason: string): void {
  forgetToken();
  if (reason === '') sessionStorage.removeItem(REASON);
  else sessionStorage.setItem(REASON, reason);
  location.reload();
}

function signIn(): void {
  const [form, field, error] = [element('sign-in'), element<HTMLInputElement>('token'), element('sign-in-error')];
  element('welcome').hidden = false;
  write(error, sessionStorage.getItem(REASON) ?? '');
  sessionStorage.removeItem(REASON);
  field.focus();
  addEventListener('hashchange', () => location.reload()); // an address with a token was pasted
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const token = field.value.trim().replace(/^Bearer\s+/i, '');
    if (token === '') return;
    keepToken(token);
    location.reload();
  });
}

async function start(token: string): Promise<void> {
  const settings = await loadSettings();
  element('console').hidden = false;
  element('sign-out').addEventListener('click', () => leave(''));
  new Console(settings, token, leave);
}

const token = knownToken();
if (token === null) signIn();
else start(token).catch(() => leave('The server cannot be reached. Try again.'));
