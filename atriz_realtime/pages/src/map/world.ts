import { feature, mesh } from 'topojson-client';
import type { GeometryCollection, GeometryObject, Topology } from 'topojson-specification';

import { toPlace, type Place } from './mercator.ts';

/** A line or the edge of an area on the Web Mercator square, with its bounding box. */
export interface Course {
  /** x and y, alternating. */
  readonly points: Float64Array;
  readonly box: Box;
}

export interface Box {
  readonly west: number;
  readonly north: number;
  readonly east: number;
  readonly south: number;
}

/** Land and borders of world-atlas. */
export interface World {
  readonly land: readonly Course[];
  readonly borders: readonly Course[];
}

type Atlas = Topology<{ countries: GeometryCollection; land: GeometryObject }>;

/** Fetch a file of world-atlas. */
export async function loadWorld(url: string): Promise<World> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const atlas = (await response.json()) as Atlas;
  const { countries, land } = atlas.objects;
  const rings = feature(atlas, land);
  const features = rings.type === 'FeatureCollection' ? rings.features : [rings];
  return {
    land: features.flatMap(({ geometry }) => {
      if (geometry.type === 'Polygon') return geometry.coordinates.flatMap(ring);
      return geometry.type === 'MultiPolygon' ? geometry.coordinates.flat().flatMap(ring) : [];
    }),
    borders: mesh(atlas, countries, (one, other) => one !== other).coordinates.flatMap((line) => copies(unrolled(line))),
  };
}

/** The edge of an area; an edge around a pole is repeated beside the square and closed beyond the pole. */
function ring(positions: readonly number[][]): Course[] {
  const places = unrolled(positions);
  const [first, last] = [places[0], places.at(-1)];
  if (first === undefined || last === undefined) return [];
  const turns = Math.round(last.x - first.x);
  if (turns === 0) return copies(places);
  const around = [-1, 0, 1].flatMap((turn) => moved(places, turn * turns));
  const beyond = first.y > 0.5 ? 2 : -1;
  around.push({ x: first.x + 2 * turns, y: beyond }, { x: first.x - turns, y: beyond });
  return [course(around)];
}

/** A line of places; where it crosses the antimeridian it continues beyond the edge of the square. */
function unrolled(positions: readonly number[][]): Place[] {
  let before: number | undefined;
  return positions.map(([longitude = 0, latitude = 0]) => {
    const { x, y } = toPlace(latitude, longitude);
    before = before === undefined ? x : x + Math.round(before - x);
    return { x: before, y };
  });
}

/** A line, and its copies for parts that wrap around the edges of the square. */
function copies(places: readonly Place[]): Course[] {
  const found = course(places);
  const { west, east } = found.box;
  const turns = [-Math.floor(west), -Math.floor(east - Number.EPSILON)].filter((turn) => turn !== 0);
  return [found, ...[...new Set(turns)].map((turn) => course(moved(places, turn)))];
}

function moved(places: readonly Place[], turns: number): Place[] {
  return places.map(({ x, y }) => ({ x: x + turns, y }));
}

function course(places: readonly Place[]): Course {
  const points = new Float64Array(2 * places.length);
  let [west, north, east, south] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [index, { x, y }] of places.entries()) {
    points[2 * index] = x;
    points[2 * index + 1] = y;
    west = Math.min(west, x);
    east = Math.max(east, x);
    north = Math.min(north, y);
    south = Math.max(south, y);
  }
  return { points, box: { west, north, east, south } };
}

/** Whether two boxes overlap. */
export function meet(one: Box, other: Box): boolean {
  return one.west <= other.east && other.west <= one.east && one.north <= other.south && other.north <= one.south;
}

/**
 * Add a line to a path, scaled, and without points that do not matter inside a box.
 *
 * A point is dropped when it and both its neighbours lie beyond the same edge of the box.
 */
export function trace(path: Path2D, { points }: Course, box: Box, scale: number, closed: boolean): void {
  const last = points.length - 2;
  let [x, y] = [points[0] ?? 0, points[1] ?? 0];
  path.moveTo((x - box.west) * scale, (y - box.north) * scale);
  let before = outcode(x, y, box);
  [x, y] = [points[2] ?? 0, points[3] ?? 0];
  let here = outcode(x, y, box);
  for (let index = 2; index <= last; index += 2) {
    const [nextX, nextY] = [points[index + 2] ?? x, points[index + 3] ?? y];
    const next = outcode(nextX, nextY, box);
    if (index === last || (before & here & next) === 0) {
      path.lineTo((x - box.west) * scale, (y - box.north) * scale);
      before = here;
    }
    [x, y, here] = [nextX, nextY, next];
  }
  if (closed) path.closePath();
}

/** The edges of a box that a point lies beyond, one bit each (outcode of Cohen and Sutherland). */
function outcode(x: number, y: number, { west, north, east, south }: Box): number {
  return (x < west ? 1 : x > east ? 2 : 0) | (y < north ? 4 : y > south ? 8 : 0);
}
