import { element } from '../dom.ts';

/** Let the button *Full screen* work, where the browser can. */
export function fullScreen(): void {
  const button = element<HTMLButtonElement>('full-screen');
  button.hidden = !document.fullscreenEnabled;
  button.addEventListener('click', () => {
    const changing =
      document.fullscreenElement === null ? document.documentElement.requestFullscreen() : document.exitFullscreen();
    changing.catch(() => undefined); // the browser does not let it
  });
  document.addEventListener('fullscreenchange', () => {
    button.ariaPressed = String(document.fullscreenElement !== null);
  });
}
