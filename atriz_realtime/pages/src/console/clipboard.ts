import { write } from '../dom.ts';

/** Milliseconds for which a button says that it has copied. */
const NOTE = 4_000;

/** Copy a text; returns whether it succeeded. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyInPlainHttp(text);
  }
}

/** Pages that are not served over HTTPS have no `navigator.clipboard`. */
function copyInPlainHttp(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'unseen';
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const copied = document.execCommand('copy');
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}

/** Let a button copy a text, and say so. */
export function copies(button: HTMLButtonElement, text: () => string): void {
  const label = button.textContent ?? '';
  let timer: ReturnType<typeof setTimeout> | undefined;
  button.addEventListener('click', () => {
    void copy(text()).then((copied) => {
      write(button, copied ? 'Copied' : 'Not copied');
      clearTimeout(timer);
      timer = setTimeout(() => write(button, label), NOTE);
    });
  });
}
