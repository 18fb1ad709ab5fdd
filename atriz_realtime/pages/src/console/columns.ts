import { titleOf, type Entity } from './fleet.ts';
import type { Formats } from './formats.ts';
import { FIELDS, type Field } from './names.ts';
import { STATES } from './query.ts';

/** What the list shows, in the order in which it stands there; it can be sorted by each. */
const COLUMNS = ['name', 'id', 'type', 'plate', 'driver', 'group', 'status', 'speed', 'age'] as const;

export type ColumnName = (typeof COLUMNS)[number];

export interface Column {
  readonly title: string;
  /** Width in rem; of the name, which takes what is left, the least. */
  readonly width: number;
  readonly isNumber?: boolean;
  /** Whether its values change while nothing is added or renamed. */
  readonly changes?: boolean;
  text(entity: Entity, formats: Formats, now: number): string;
  compare(one: Entity, other: Entity): number;
  /** Whether it has no value; such entities come last in either order. */
  isEmpty?(entity: Entity): boolean;
}

const byText = new Intl.Collator(undefined, { numeric: true });

/** A column of texts. */
function texts(title: string, width: number, text: (entity: Entity) => string): Column {
  return {
    title,
    width,
    text,
    compare: (one, other) => byText.compare(text(one), text(other)),
    isEmpty: (entity) => text(entity) === '',
  };
}

function ofField(field: Field, title: string, width: number): Column {
  return texts(title, width, ({ names }) => names[field]);
}

/** The speed by which is sorted: one that is no longer shown comes before all others. */
function speedOf({ freshness, location }: Entity): number {
  return freshness === 'live' ? (location.speed ?? -1) : -1;
}

export const columns: Readonly<Record<ColumnName, Column>> = {
  name: texts('Name', 9, titleOf),
  id: texts('Id', 6, ({ id }) => id),
  type: texts('Type', 5.5, ({ type }) => type),
  plate: ofField('plate', 'Plate', 6.5),
  driver: ofField('driver', 'Driver', 7.5),
  group: ofField('group', 'Group', 7),
  status: {
    title: 'Status',
    width: 10.5,
    changes: true,
    text: (entity, formats, now) => formats.state(entity, now),
    compare: (one, other) => STATES.indexOf(one.freshness) - STATES.indexOf(other.freshness) || other.at - one.at,
  },
  speed: {
    title: 'Speed',
    width: 4.5,
    changes: true,
    isNumber: true,
    text: ({ freshness, location }, formats) => (freshness === 'live' ? formats.speed(location.speed) : ''),
    compare: (one, other) => speedOf(one) - speedOf(other),
  },
  age: {
    title: 'Seen',
    width: 4.25,
    changes: true,
    isNumber: true,
    text: ({ at }, formats, now) => formats.seen(at, now),
    compare: (one, other) => other.at - one.at,
  },
};

export function isColumn(name: unknown): name is ColumnName {
  return typeof name === 'string' && Object.hasOwn(columns, name);
}

/** The columns beside the name that there are with these fields. */
export function choices(fields: Readonly<Record<Field, string>>): ColumnName[] {
  const isField = (name: ColumnName): name is Field => (FIELDS as readonly string[]).includes(name);
  return COLUMNS.filter((name) => name !== 'name' && !(isField(name) && fields[name] === ''));
}

/** Compare entities by name, and those of one name in a fixed order. */
export function compareNames(one: Entity, other: Entity): number {
  return (
    byText.compare(titleOf(one), titleOf(other)) ||
    one.mark.kind - other.mark.kind ||
    byText.compare(one.id, other.id)
  );
}
