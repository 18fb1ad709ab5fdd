/** What the server says of itself to whoever opens the page. */
export interface Settings {
  /** The entity types there are. */
  types: string[];
  /** Entities that one connection may track. */
  maxSubscriptions: number;
  /** Seconds after which a position counts as stale. */
  staleAfter: number;
  tileUrl: string;
  tileAttribution: string;
}

/** The folder that the server's paths are under, behind whatever proxy. */
export const BASE = new URL('.', location.href);

/** The page's own files. */
export const FILES = new URL('console/', BASE).href;

/** Ask the server. */
export async function loadSettings(): Promise<Settings> {
  const response = await fetch(`${FILES}settings.json`);
  if (!response.ok) throw new Error(`settings: ${response.status}`);
  return (await response.json()) as Settings;
}
