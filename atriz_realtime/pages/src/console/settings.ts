import type { FreshnessLimits } from '../freshness.ts';
import type { MapOptions } from '../map/map.ts';
import type { FieldKeys } from './names.ts';

/** Settings that the server sends to the page. */
export interface Settings extends FreshnessLimits, Omit<MapOptions, 'files'> {
  /** The registered entity types. */
  readonly types: readonly string[];
  /** Most entities that one connection may track. */
  readonly maxSubscriptions: number;
  /** The key of `metadata` that holds each field; empty: none. */
  readonly fields: FieldKeys;
  /** Address template of a map elsewhere, with `{latitude}` and `{longitude}`; empty: none. */
  readonly externalMap: string;
  /** Whether the server can share an entity by a link. */
  readonly sharing: boolean;
}

/** The base URL of the server, also behind a proxy that adds a path. */
export const BASE = new URL('.', location.href);

/** The URL of the files of this page. */
export const FILES = new URL('console/', BASE).href;

/** Fetch the settings. */
export async function loadSettings(): Promise<Settings> {
  const response = await fetch(`${FILES}settings.json`);
  if (!response.ok) throw new Error(`settings: ${response.status}`);
  return (await response.json()) as Settings;
}
