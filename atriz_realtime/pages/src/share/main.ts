import { Formats } from './formats.ts';
import { linkOf } from './link.ts';
import { showOver } from './over.ts';
import { readSettings } from './settings.ts';
import { Sharing } from './sharing.ts';

const settings = readSettings();
const formats = new Formats(settings.words, settings.language);
const link = linkOf(location);
if (link === undefined) {
  showOver(settings, formats);
} else {
  // move the token out of the path, so that later requests do not carry it
  if (location.hash === '') history.replaceState(null, '', `./${location.search}#${link.token}`);
  addEventListener('hashchange', () => location.reload());
  new Sharing(link, settings, formats);
}
