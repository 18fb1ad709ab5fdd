import type { FreshnessLimits } from '../freshness.ts';
import { wordFor, type Words } from './words.ts';

/** What the server writes into the page for the script. */
export interface Settings extends FreshnessLimits {
  readonly language: string;
  readonly words: Words;
  /** The name of the company or service; empty: none. */
  readonly brand: string;
  /** The values of the status, in order. */
  readonly steps: readonly string[];
  /** Names of steps that the configuration gives in this language. */
  readonly stepNames: Readonly<Record<string, string>>;
}

/** Read the settings. */
export function readSettings(): Settings {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="share"]');
  if (meta === null) throw new Error('the page has no settings');
  return JSON.parse(meta.content) as Settings;
}

/** The name of a step: that of the configuration, of the language, or the step itself. */
export function stepName({ words, stepNames }: Settings, step: string): string {
  return wordFor(stepNames, step) ?? wordFor(words.steps, step) ?? step.replaceAll('_', ' ');
}
