const reduced = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the user has asked the system for reduced motion. */
export function isStill(): boolean {
  return reduced.matches;
}
