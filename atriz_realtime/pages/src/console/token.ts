/** Where the token is kept: by this tab, until it is closed. */
const KEY = 'atriz-realtime-token';

/** The token of this tab: from the address's fragment, which no server sees, or kept from before. */
export function knownToken(): string | null {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    history.replaceState(null, '', location.pathname + location.search); // not for the next one to copy
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
