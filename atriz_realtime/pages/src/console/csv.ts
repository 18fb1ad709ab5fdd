import type { Entity } from './fleet.ts';
import { FIELDS } from './names.ts';

type Cell = string | number | undefined;

/** What a spreadsheet would take as the beginning of a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/** A cell as RFC 4180 has it; a text that looks like a formula begins with an apostrophe. */
function cell(value: Cell): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",;\r\n\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const HEAD = [
  ...['type', 'id', ...FIELDS, 'status', 'timestamp', 'latitude', 'longitude'],
  ...['speed_kmh', 'heading', 'accuracy_m', 'altitude_m'],
];

/** A table of entities; speeds are in km/h and times in UTC, whatever the page shows. */
export function csvOf(entities: readonly Entity[]): string {
  const rows = entities.map(({ type, id, names, freshness, location }): Cell[] => {
    const { timestamp, latitude, longitude, speed, heading, accuracy, altitude } = location;
    const fields = FIELDS.map((field) => names[field]);
    return [type, id, ...fields, freshness, timestamp, latitude, longitude, speed, heading, accuracy, altitude];
  });
  return [HEAD, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

/** Let the browser save a table. */
export function save(entities: readonly Entity[]): void {
  // the byte order mark tells spreadsheets that it is UTF-8
  const url = URL.createObjectURL(new Blob(['\ufeff', csvOf(entities)], { type: 'text/csv' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `live-map-${new Date().toISOString().slice(0, 16).replace(':', '')}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
