import { element, make } from '../dom.ts';
import { choices, columns, type ColumnName } from './columns.ts';
import type { PreferenceStore, Preferences } from './preferences.ts';
import type { Settings } from './settings.ts';

/** The settings menu, which changes the preferences of this browser. */
export class SettingsDialog {
  readonly #dialog = element<HTMLDialogElement>('settings');
  readonly #preferences: PreferenceStore;
  readonly #fields: Settings['fields'];

  constructor(preferences: PreferenceStore, fields: Settings['fields']) {
    this.#preferences = preferences;
    this.#fields = fields;
    element('open-settings').addEventListener('click', () => this.#open());
    element('close-settings').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('click', ({ target, clientX, clientY }) => {
      const { left, right, top, bottom } = this.#dialog.getBoundingClientRect();
      const beside = clientX < left || clientX > right || clientY < top || clientY > bottom;
      if (target === this.#dialog && beside) this.#dialog.close();
    });
    this.#radios('speed');
    this.#radios('times');
    const clusters = element<HTMLInputElement>('clusters');
    clusters.checked = preferences.value.clusters;
    clusters.addEventListener('change', () => preferences.change({ clusters: clusters.checked }));
    const zones = element<HTMLSelectElement>('zone');
    zones.addEventListener('change', () => preferences.change({ zone: zones.value }));
  }

  #open(): void {
    const zones = element<HTMLSelectElement>('zone');
    if (zones.options.length === 0) zones.append(...zoneOptions());
    zones.value = this.#preferences.value.zone;
    element('column-choices').replaceChildren(...choices(this.#fields).map((name) => this.#checkbox(name)));
    this.#dialog.showModal();
  }

  #radios(name: 'speed' | 'times'): void {
    for (const radio of this.#dialog.querySelectorAll<HTMLInputElement>(`input[name=${name}]`)) {
      radio.checked = radio.value === this.#preferences.value[name];
      radio.addEventListener('change', () => {
        this.#preferences.change({ [name]: radio.value } as Partial<Preferences>);
      });
    }
  }

  #checkbox(name: ColumnName): HTMLLabelElement {
    const label = make('label', 'choice');
    const box = make('input');
    box.type = 'checkbox';
    box.checked = this.#preferences.value.columns.includes(name);
    box.addEventListener('change', () => {
      const { columns: shown, sort } = this.#preferences.value;
      const others = shown.filter((each) => each !== name);
      // a list is sorted by what one can see
      const order: Partial<Preferences> = !box.checked && sort === name ? { sort: 'name', descending: false } : {};
      this.#preferences.change({ columns: box.checked ? [...others, name] : others, ...order });
    });
    label.append(box, make('span', '', columns[name].title));
    return label;
  }
}

function zoneOptions(): HTMLOptionElement[] {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const zones = ['', 'UTC', ...Intl.supportedValuesOf('timeZone').filter((zone) => zone !== 'UTC')];
  return zones.map((zone) => {
    const option = make('option', '', zone === '' ? `This device (${timeZone})` : zone.replaceAll('_', ' '));
    option.value = zone;
    return option;
  });
}
