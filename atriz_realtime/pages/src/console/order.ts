import { columns, compareNames, type ColumnName } from './columns.ts';
import type { Entity, Fleet } from './fleet.ts';

/** All entities in the order of the list; what does not change is not sorted again. */
export class Order {
  readonly #fleet: Fleet;
  #version = -1;
  #byName: readonly Entity[] = [];
  #by: ColumnName = 'name';
  #descending = false;
  #sorted: readonly Entity[] = [];

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  /** The entities by a column; those that do not differ there, by name. */
  of(by: ColumnName, descending: boolean): readonly Entity[] {
    const { compare, changes = false, isEmpty = () => false } = columns[by];
    const { version, entities } = this.#fleet;
    const same = version === this.#version && by === this.#by && descending === this.#descending;
    if (same && !changes) return this.#sorted;
    // comparing texts takes long, numbers do not
    if (version !== this.#version) this.#byName = [...entities.values()].sort(compareNames);
    const turn = descending ? -1 : 1;
    const differ = by === 'name' ? compareNames : compare;
    [this.#version, this.#by, this.#descending] = [version, by, descending];
    const isByName = by === 'name' && !descending;
    this.#sorted = isByName ? this.#byName : this.#byName.toSorted(
          (one, other) => Number(isEmpty(one)) - Number(isEmpty(other)) || turn * differ(one, other),
        );
    return this.#sorted;
  }
}
