import {
  CenteredTextSymbolizer,
  CircleSymbolizer,
  exp,
  GroupSymbolizer,
  LineSymbolizer,
  OffsetTextSymbolizer,
  PolygonSymbolizer,
  type Feature,
  type LabelRule,
  type PaintRule,
} from 'protomaps-leaflet';

import { LineName } from './linename.ts';

import type { Theme } from './theme.ts';

const FACE = 'Inter, system-ui, sans-serif';

/** Kinds of the layer `landuse` in the colour of parks, and in that of towns. */
const GREEN = [
  ...['park', 'national_park', 'nature_reserve', 'protected_area', 'forest', 'wood', 'grass', 'grassland', 'meadow'],
  ...['garden', 'golf_course', 'cemetery', 'recreation_ground', 'playground', 'pitch', 'village_green', 'allotments'],
  ...['scrub', 'zoo', 'orchard', 'dog_park'],
];
const BUILT = [
  ...['residential', 'commercial', 'industrial', 'retail', 'hospital', 'school', 'university', 'college', 'kindergarten'],
  ...['railway', 'aerodrome', 'military', 'pedestrian', 'platform', 'urban_area', 'other'],
];

/** Widths in pixels by zoom: of the road, without its edges. */
const WIDTHS = {
  minor: exp(1.5, [[11, 0.6], [13, 1], [15, 3.2], [16, 6], [18, 17]]),
  main: exp(1.5, [[8, 0.9], [11, 1.6], [13, 3], [15, 6], [18, 21]]),
  highway: exp(1.5, [[5, 0.8], [8, 1.5], [11, 2.5], [13, 3.8], [15, 7.5], [18, 26]]),
};

type Filter = (zoom: number, feature: Feature) => boolean;

function isKind(...kinds: readonly string[]): Filter {
  const known = new Set(kinds);
  return (_, { props }) => known.has(String(props['kind']));
}

/** The rules for areas and lines, from the ground upwards. */
export function paintRules(theme: Theme): PaintRule[] {
  const area = (dataLayer: string, fill: string, more: Partial<PaintRule> = {}): PaintRule => ({
    dataLayer,
    symbolizer: new PolygonSymbolizer({ fill }),
    ...more,
  });
  const roads = (kind: string, color: string, width: (zoom: number) => number, minzoom: number): PaintRule => ({
    dataLayer: 'roads',
    minzoom,
    filter: isKind(kind),
    symbolizer: new LineSymbolizer({ color, width, lineCap: 'round', lineJoin: 'round' }),
  });
  const edged = (width: (zoom: number) => number) => (zoom: number) => width(zoom) + (zoom < 13 ? 1.2 : 2);
  const isArea: Filter = (_, { geomType }) => geomType === 3;
  return [
    area('earth', theme.land),
    area('landcover', theme.park, { filter: isKind('forest', 'grassland', 'scrub') }),
    area('landuse', theme.built, { filter: isKind(...BUILT) }),
    area('landuse', theme.park, { filter: isKind(...GREEN) }),
    area('water', theme.sea, { filter: isArea }),
    {
      dataLayer: 'water',
      filter: (zoom, feature) => feature.geomType === 2 && (zoom >= 13 || feature.props['kind'] === 'river'),
      minzoom: 10,
      symbolizer: new LineSymbolizer({ color: theme.sea, width: exp(1.4, [[10, 0.6], [14, 1.5], [18, 5]]) }),
    },
    {
      dataLayer: 'boundaries',
      symbolizer: new LineSymbolizer({ color: theme.border, width: 1 }),
    },
    {
      dataLayer: 'roads',
      filter: isKind('rail'),
      minzoom: 11,
      symbolizer: new LineSymbolizer({ color: theme.railway, width: exp(1.4, [[11, 0.6], [16, 1.6]]) }),
    },
    area('buildings', theme.building, { minzoom: 15 }),
    {
      dataLayer: 'roads',
      filter: isKind('path', 'other'),
      minzoom: 15,
      symbolizer: new LineSymbolizer({ color: theme.road, width: exp(1.4, [[15, 0.8], [18, 3]]) }),
    },
    roads('minor_road', theme.roadCasing, edged(WIDTHS.minor), 13),
    roads('major_road', theme.roadCasing, edged(WIDTHS.main), 9),
    roads('highway', theme.highwayCasing, edged(WIDTHS.highway), 6),
    roads('minor_road', theme.road, WIDTHS.minor, 11),
    roads('major_road', theme.mainRoad, WIDTHS.main, 8),
    roads('highway', theme.highway, WIDTHS.highway, 5),
  ];
}

function rank(feature: Feature | undefined): number {
  return Number(feature?.props['population_rank'] ?? 0);
}

/** The rules for names: the first ones win where names overlap. */
export function labelRules(theme: Theme): LabelRule[] {
  const halo = { stroke: theme.land, width: 3 };
  const labelProps = ['name'];
  const isTown = isKind('locality');
  const townFont = (zoom: number, feature?: Feature) =>
    `600 ${Math.min(16, 8 + rank(feature) / 3 + Math.max(0, zoom - 8) / 2)}px ${FACE}`;
  const byRank = (a: Feature['props'], b: Feature['props']) =>
    Number(b['population_rank'] ?? 0) - Number(a['population_rank'] ?? 0);
  const capitals = { labelProps, ...halo, fill: theme.country, font: `600 11px ${FACE}`, textTransform: 'uppercase' };
  const street = { fill: theme.street, halo: theme.land };
  return [
    {
      dataLayer: 'places',
      filter: isKind('country'),
      maxzoom: 8,
      symbolizer: new CenteredTextSymbolizer(capitals),
    },
    {
      dataLayer: 'places',
      filter: isTown,
      sort: byRank,
      maxzoom: 9,
      symbolizer: new GroupSymbolizer([
        new CircleSymbolizer({ radius: 2, fill: theme.city, stroke: theme.land, width: 1.5 }),
        new OffsetTextSymbolizer({ labelProps, ...halo, fill: theme.city, font: townFont, offsetX: 6, offsetY: 4.5 }),
      ]),
    },
    {
      dataLayer: 'places',
      filter: isTown,
      sort: byRank,
      minzoom: 10,
      maxzoom: 14,
      symbolizer: new CenteredTextSymbolizer({ labelProps, ...halo, fill: theme.city, font: townFont }),
    },
    {
      dataLayer: 'places',
      filter: isKind('neighbourhood', 'macrohood'),
      minzoom: 12,
      maxzoom: 16,
      symbolizer: new CenteredTextSymbolizer(capitals),
    },
    {
      dataLayer: 'roads',
      filter: isKind('highway', 'major_road'),
      minzoom: 12,
      symbolizer: new LineName({ ...street, font: (zoom) => `500 ${zoom < 15 ? 11 : 12}px ${FACE}` }),
    },
    {
      dataLayer: 'water',
      filter: (_, { props, geomType }) => geomType === 2 && props['name'] !== undefined,
      minzoom: 10,
      symbolizer: new LineName({ fill: theme.waterName, halo: theme.sea, font: () => `italic 500 12px ${FACE}` }),
    },
    {
      dataLayer: 'water',
      filter: (_, { props, geomType }) => geomType === 1 && props['name'] !== undefined,
      symbolizer: new CenteredTextSymbolizer({
        labelProps,
        stroke: theme.sea,
        width: 3,
        fill: theme.waterName,
        font: `italic 500 12px ${FACE}`,
      }),
    },
    {
      dataLayer: 'pois',
      filter: isKind('park', 'forest', 'nature_reserve', 'national_park', 'garden', 'cemetery', 'golf_course'),
      minzoom: 14,
      symbolizer: new CenteredTextSymbolizer({
        labelProps,
        stroke: theme.park,
        width: 3,
        fill: theme.parkName,
        font: `500 11px ${FACE}`,
      }),
    },
    {
      dataLayer: 'roads',
      filter: isKind('minor_road'),
      minzoom: 15,
      symbolizer: new LineName({ ...street, font: (zoom) => `500 ${zoom < 16 ? 10.5 : zoom < 18 ? 11.5 : 13}px ${FACE}` }),
    },
  ];
}
