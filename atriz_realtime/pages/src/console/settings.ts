/** Settings that the server sends to the page. */
export interface Settings {
  /** The registered entity types. */
  types: string[];
  /** Most entities that one connection may track. */
  maxSubscriptions: number;
  /** Seconds after which a position counts as stale. */
  staleAfter: number;
  /** URL of the file with streets, relative to the page; empty: none. */
  basemap: string;
  tileUrl: string;
  tileUrlDark: string;
  tileAttribution: string;
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
