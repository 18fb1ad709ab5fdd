const reduced = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the reader's system asks that nothing glides. */
export function isStill(): boolean {
  return reduced.matches;
}
