/** Session storage key of the token, which lasts until the tab is closed. */
const KEY = 'atriz-realtime-token';

/** The token of this tab: from the fragment of the address, which no server sees, or from the session storage. */
export function knownToken(): string | null {
  const given = location.hash.startsWith('#token=') ? new URLSearchParams(location.hash.slice(1)).get('token') : null;
  if (given === null) return stored(KEY);
  clearAddress(); // so that nobody copies it with the address
  keepToken(given);
  return given;
}

/** Keep a token for this tab; returns whether the browser does. */
export function keepToken(token: string): boolean {
  return store(KEY, token);
}

export function forgetToken(): void {
  store(KEY, '');
}

/** Take the fragment out of the address. */
export function clearAddress(): void {
  history.replaceState(null, '', location.pathname + location.search);
}

/** What this tab has stored; `null`: nothing, or the browser refuses. */
export function stored(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Store a text for this tab, or nothing if it is empty; returns whether the browser does. */
export function store(key: string, text: string): boolean {
  try {
    if (text === '') sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
    return true;
  } catch {
    return false; // it refuses, or has no room
  }
}
