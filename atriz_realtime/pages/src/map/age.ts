/** The age of a position as a short text. */
export function ageText(seconds: number): string {
  if (seconds < 1) return 'now';
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The lowest opacity of a marker. */
const FAINTEST = 0.3;

/**
 * The opacity of a marker by its age in seconds: it starts to fade when it becomes stale, and is
 * faintest at three times that age.
 */
export function opacity(age: number, staleAfter: number): number {
  const faded = Math.min(1, Math.max(0, (age - staleAfter) / (2 * staleAfter)));
  return age < staleAfter ? 1 : 0.7 - (0.7 - FAINTEST) * faded;
}
