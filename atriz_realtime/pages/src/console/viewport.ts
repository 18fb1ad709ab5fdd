import { element } from '../dom.ts';

/** Pixels by which the window grows when an on-screen keyboard closes, at least. */
const KEYBOARD = 100;

/**
 * Keep the page as high as what an on-screen keyboard leaves of the window.
 *
 * On phones the list has the whole window while the user searches; the class `searching` says so.
 *
 * @returns A function that ends searching.
 */
export function fitWindow(page: HTMLElement, search: HTMLElement): () => void {
  const panel = element('panel');
  const end = () => page.classList.remove('searching');
  search.addEventListener('focus', () => page.classList.add('searching'));
  panel.addEventListener('focusout', ({ relatedTarget }) => {
    const stays = relatedTarget instanceof Node && panel.contains(relatedTarget);
    if (!stays && !panel.matches(':active')) end();
  });
  const viewport = visualViewport;
  if (viewport === null) return end;
  let before = viewport.height;
  viewport.addEventListener('resize', () => {
    if (viewport.scale > 1.01) return; // zoomed in with two fingers
    page.style.setProperty('--height', `${viewport.height}px`);
    if (viewport.height > before + KEYBOARD) end();
    before = viewport.height;
    scrollTo(0, 0); // iOS scrolls the page to what is typed in
  });
  return end;
}
