import { element, write } from '../dom.ts';
import type { Formats } from './formats.ts';
import type { Settings } from './settings.ts';
import { wordFor } from './words.ts';

/** Milliseconds that the page waits for the server to say why the sharing ended. */
const TIMEOUT = 3_000;

/** The end of what was followed, rather than of the link alone. */
export interface Finish {
  /** What it came to, such as `Delivered`. */
  readonly what: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Whether it went well. */
  readonly isGood: boolean;
}

/** Ask the server why a share ended; `undefined` when nobody said so. */
export async function askWhy(token: string, { words }: Settings): Promise<Finish | undefined> {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch('end', { headers, signal: AbortSignal.timeout(TIMEOUT) });
    const { reason, at } = (await response.json()) as { reason?: string; at?: string };
    const what = wordFor(words.reasons, reason ?? '');
    if (what === undefined || at === undefined) return undefined;
    return { what, at: Date.parse(at), isGood: reason === 'delivered' || reason === 'arrived' };
  } catch {
    return undefined; // the end is shown without its reason
  }
}

/** Replace the page by its end; without a finish it does not tell why the link is not valid. */
export function showOver({ words }: Settings, formats: Formats, finish?: Finish, name = ''): void {
  element('live').remove();
  const over = element('over');
  over.hidden = false;
  const title = finish === undefined ? words.ended : formats.moment(finish.what, finish.at, Date.now());
  const heading = over.querySelector('h1');
  if (finish !== undefined) {
    over.dataset['finish'] = finish.isGood ? 'good' : 'bad';
    element('sign').setAttribute('d', finish.isGood ? 'M14 25l7 7 14-15' : 'M17 17l14 14M31 17L17 31');
    write(element('over-kicker'), name);
    write(element('over-text'), words.finishedText);
  }
  document.title = title;
  if (heading === null) return;
  write(heading, title);
  heading.focus();
}
