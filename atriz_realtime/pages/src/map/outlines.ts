/** Half the width of the box of a shape, which is centred on 0, 0. */
export const REACH = 12;

/** SVG paths of the kinds, which repeat; all point up, so that a heading can rotate them. */
export const SHAPES = [
  'M0 -10 L7.5 8.5 L0 4.6 L-7.5 8.5 Z',
  'M0 -10 L6.5 -3 V7.5 H-6.5 V-3 Z',
  'M0 -10.5 L7 0 L0 10.5 L-7 0 Z',
  'M0 -10 C4.5 -5.5 7.5 -2.6 7.5 1.6 A7.5 7.5 0 1 1 -7.5 1.6 C-7.5 -2.6 -4.5 -5.5 0 -10 Z',
  'M0 -10 L8 -2 L4 -2 V9 H-4 V-2 L-8 -2 Z',
  'M0 -9 L8 6 L0 9 L-8 6 Z',
] as const;

/** A circle, for markers without a heading. */
export const ROUND = 'M-6.5 0 A6.5 6.5 0 1 1 6.5 0 A6.5 6.5 0 1 1 -6.5 0 Z';

/** The path of a kind. */
export function shapeOf(kind: number): string {
  return SHAPES[kind % SHAPES.length] ?? ROUND;
}
