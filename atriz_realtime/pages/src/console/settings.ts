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
  /** The types of which the server lists the last known location of what has expired. */
  readonly lastKnown: readonly string[];
  /** Another text once the server has forgotten what it knew. */
  readonly memory: string;
  /** Whether the server can share an entity by a link. */
  readonly sharing: boolean;
}

/** The base URL of the server, also behind a proxy that adds a path. */
export const BASE = new URL('.', location.href);

/** The URL of the files of this page. */
export const FILES = new URL('console/', BASE).href;

/** Settings of links to entities. */
export interface ShareSettings {
  /** Longest life of a link, in seconds; 0: the server makes none. */
  readonly maxLife: number;
}

/** Fetch the settings. */
export async function loadSettings(): Promise<Settings> {
  return (await load(`${FILES}settings.json`)) as Settings;
}

/** Fetch the settings of links, where the server makes them. */
export async function loadShareSettings(): Promise<ShareSettings> {
  return (await load(new URL('track/settings.json', BASE).href)) as ShareSettings;
}

async function load(url: string): Promise<unknown> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}
