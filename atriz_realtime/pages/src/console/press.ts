/** Milliseconds until a touch is a long one. */
const LONG = 500;

/** Pixels that a finger may slip. */
const SLIP = 10;

/**
 * Call a function when an element is touched for long; the click that ends the touch is then taken away.
 *
 * @param pressed Takes the event with which the touch began.
 */
export function onLongPress(element: HTMLElement, pressed: (event: PointerEvent) => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let start: PointerEvent | undefined;
  let isLong = false;
  const end = () => clearTimeout(timer);
  element.addEventListener('pointerdown', (event) => {
    end();
    isLong = false;
    start = event;
    if (event.pointerType === 'mouse' || !event.isPrimary) return;
    timer = setTimeout(() => {
      isLong = true;
      pressed(event);
    }, LONG);
  });
  element.addEventListener('pointermove', ({ clientX, clientY }) => {
    if (start !== undefined && Math.hypot(clientX - start.clientX, clientY - start.clientY) > SLIP) end();
  });
  for (const name of ['pointerup', 'pointercancel', 'pointerleave'] as const) element.addEventListener(name, end);
  element.addEventListener('contextmenu', (event) => {
    if (isLong) event.preventDefault();
  });
  element.addEventListener(
    'click',
    (event) => {
      if (isLong) event.stopImmediatePropagation();
      isLong = false;
    },
    { capture: true },
  );
}
