/** How old a position is, in words as short as they go. */
export function ageText(seconds: number): string {
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** How opaque the faintest marker is. */
const FAINTEST = 0.3;

/**
 * How opaque a marker of some age is: it fades from the moment that it counts as stale, and
 * has faded when it is three times as old.
 */
export function opacity(age: number, staleAfter: number): number {
  const faded = Math.min(1, Math.max(0, (age - staleAfter) / (2 * staleAfter)));
  return age < staleAfter ? 1 : 0.7 - (0.7 - FAINTEST) * faded;
}
