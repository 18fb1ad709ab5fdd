/** Session storage key of the token, which lasts until the tab is closed. */
const KEY = 'atriz-realtime-token';

/** The token of this tab: from the fragment of the address, which no server sees, or from the session storage. */
export function knownToken(): string | null {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    history.replaceState(null, '', location.pathname + location.search); // so that nobody copies it with the address
    keepToken(given);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}
