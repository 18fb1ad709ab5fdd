import type de from './words/de.json';
import type en from './words/en.json';
import type es from './words/es.json';
import type fr from './words/fr.json';
import type pt from './words/pt.json';

/** The texts of the page in one language; `{…}` stands for what {@link filled} puts in. */
export type Words = typeof en;

/** Each language has exactly the texts of the others: what is missing or left over does not compile. */
type Same<T extends Words> = Words extends T ? true : never;
export const COMPLETE: [Same<typeof de>, Same<typeof es>, Same<typeof fr>, Same<typeof pt>] = [true, true, true, true];

/** The word for a key, which may come from anywhere; `undefined`: there is none. */
export function wordFor(words: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(words, key) ? words[key] : undefined;
}

/** A text with its gaps filled. */
export function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (gap, name: string) => values[name] ?? gap);
}
