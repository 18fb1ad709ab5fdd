import {
  CenteredTextSymbolizer,
  CircleSymbolizer,
  exp,
  GroupSymbolizer,
  LineLabelSymbolizer,
  OffsetTextSymbolizer,
  type Feature,
  type LabelRule,
  type paintRules,
} from 'protomaps-leaflet';

import type { Theme } from './theme.ts';

const FACE = 'Inter, system-ui, sans-serif';

/** The colours of the library's style for the colours of a page. */
export function flavour(theme: Theme): Parameters<typeof paintRules>[0] {
  const { sea, land, built, park, building, road, roadCasing, mainRoad, highway, highwayCasing } = theme;
  return {
    background: sea,
    earth: land,
    park_a: park,
    park_b: park,
    hospital: built,
    industrial: built,
    school: built,
    wood_a: park,
    wood_b: park,
    pedestrian: built,
    scrub_a: park,
    scrub_b: park,
    glacier: theme.halo,
    sand: land,
    beach: land,
    aerodrome: built,
    runway: building,
    water: sea,
    zoo: park,
    military: built,
    tunnel_other_casing: roadCasing,
    tunnel_minor_casing: roadCasing,
    tunnel_link_casing: roadCasing,
    tunnel_major_casing: roadCasing,
    tunnel_highway_casing: roadCasing,
    tunnel_other: built,
    tunnel_minor: built,
    tunnel_link: built,
    tunnel_major: built,
    tunnel_highway: built,
    pier: built,
    buildings: building,
    minor_service_casing: roadCasing,
    minor_casing: roadCasing,
    link_casing: roadCasing,
    major_casing_late: roadCasing,
    highway_casing_late: highwayCasing,
    other: road,
    minor_service: road,
    minor_a: road,
    minor_b: road,
    link: mainRoad,
    major_casing_early: roadCasing,
    major: mainRoad,
    highway_casing_early: highwayCasing,
    highway,
    railway: theme.railway,
    boundaries: theme.border,
    bridges_other_casing: roadCasing,
    bridges_minor_casing: roadCasing,
    bridges_link_casing: roadCasing,
    bridges_major_casing: roadCasing,
    bridges_highway_casing: highwayCasing,
    bridges_other: road,
    bridges_minor: road,
    bridges_link: mainRoad,
    bridges_major: mainRoad,
    bridges_highway: highway,
    // names have rules of their own
    roads_label_minor: theme.street,
    roads_label_minor_halo: land,
    roads_label_major: theme.street,
    roads_label_major_halo: land,
    ocean_label: theme.waterName,
    subplace_label: theme.country,
    subplace_label_halo: land,
    city_label: theme.city,
    city_label_halo: land,
    state_label: theme.country,
    state_label_halo: land,
    country_label: theme.country,
    address_label: theme.street,
    address_label_halo: land,
  };
}

type Filter = (zoom: number, feature: Feature) => boolean;

function isKind(...kinds: string[]): Filter {
  const known = new Set(kinds);
  return (_, { props }) => known.has(String(props['kind']));
}

function rank(feature: Feature | undefined): number {
  return Number(feature?.props['population_rank'] ?? 0);
}

/** The rules for names: the first ones win where names overlap. */
export function labelRules(theme: Theme): LabelRule[] {
  const halo = { stroke: theme.land, width: 3 };
  const properties = ['name'];
  const isTown = isKind('locality');
  const townFont = (zoom: number, feature?: Feature) =>
    `600 ${Math.min(16, 8 + rank(feature) / 3 + Math.max(0, zoom - 8) / 2)}px ${FACE}`;
  const byRank = (a: Feature['props'], b: Feature['props']) =>
    Number(b['population_rank'] ?? 0) - Number(a['population_rank'] ?? 0);
  return [
    {
      dataLayer: 'places',
      filter: isKind('country'),
      maxzoom: 8,
      symbolizer: new CenteredTextSymbolizer({
        labelProps: properties,
        ...halo,
        fill: theme.country,
        font: `600 11px ${FACE}`,
        textTransform: 'uppercase',
      }),
    },
    {
      dataLayer: 'places',
      filter: isTown,
      sort: byRank,
      maxzoom: 9,
      symbolizer: new GroupSymbolizer([
        new CircleSymbolizer({ radius: 2, fill: theme.city, stroke: theme.land, width: 1.5 }),
        new OffsetTextSymbolizer({ labelProps: properties, ...halo, fill: theme.city, font: townFont, offsetX: 6, offsetY: 4.5 }),
      ]),
    },
    {
      dataLayer: 'places',
      filter: isTown,
      sort: byRank,
      minzoom: 10,
      maxzoom: 15,
      symbolizer: new CenteredTextSymbolizer({ labelProps: properties, ...halo, fill: theme.city, font: townFont }),
    },
    {
      dataLayer: 'places',
      filter: isKind('neighbourhood', 'macrohood'),
      minzoom: 12,
      maxzoom: 16,
      symbolizer: new CenteredTextSymbolizer({
        labelProps: properties,
        ...halo,
        fill: theme.country,
        font: `600 11px ${FACE}`,
        textTransform: 'uppercase',
      }),
    },
    {
      dataLayer: 'roads',
      filter: isKind('highway', 'major_road'),
      minzoom: 12,
      symbolizer: new LineLabelSymbolizer({
        labelProps: properties,
        ...halo,
        fill: theme.street,
        font: `500 12px ${FACE}`,
        repeatDistance: 500,
      }),
    },
    {
      dataLayer: 'water',
      filter: (_, { props, geomType }) => geomType !== 3 && props['name'] !== undefined,
      symbolizer: new LineLabelSymbolizer({
        labelProps: properties,
        stroke: theme.sea,
        width: 3,
        fill: theme.waterName,
        font: `italic 500 12px ${FACE}`,
        repeatDistance: 600,
      }),
    },
    {
      dataLayer: 'water',
      filter: isKind('ocean', 'sea', 'lake', 'bay', 'fjord', 'strait'),
      symbolizer: new CenteredTextSymbolizer({
        labelProps: properties,
        stroke: theme.sea,
        width: 3,
        fill: theme.waterName,
        font: `italic 500 12px ${FACE}`,
      }),
    },
    {
      dataLayer: 'roads',
      filter: isKind('minor_road'),
      minzoom: 15,
      symbolizer: new LineLabelSymbolizer({
        labelProps: properties,
        ...halo,
        fill: theme.street,
        font: (zoom: number) => `500 ${exp(1, [[15, 10.5], [18, 13]])(zoom)}px ${FACE}`,
        repeatDistance: 500,
      }),
    },
    {
      dataLayer: 'pois',
      filter: isKind('park', 'forest', 'nature_reserve', 'national_park', 'garden'),
      minzoom: 14,
      symbolizer: new CenteredTextSymbolizer({ labelProps: properties, ...halo, fill: theme.parkName, font: `500 11px ${FACE}` }),
    },
  ];
}
