// Builds the pages into a folder: `node build.mjs dist`.

import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, parse, resolve as resolvePath } from 'node:path';

import { build } from 'esbuild';

/** Each page is a folder of src/ with page.html, main.ts and style.css. */
const PAGES = ['console', 'share'];

/** What the page of a share loads while its card is already shown: each a file of its own. */
const LATER = ['connection.ts', 'map.css', 'place.ts'];

/** Libraries with code or data in the build, whose licenses must be included. */
const LIBRARIES = ['leaflet', 'socket.io-client', 'topojson-client', 'world-atlas'];

const here = import.meta.dirname;
const { resolve } = createRequire(import.meta.url);
const target = resolvePath(process.argv[2] ?? 'dist');

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: [
    ...PAGES.flatMap((page) => [
      { in: `src/${page}/main.ts`, out: page },
      { in: `src/${page}/style.css`, out: page },
    ]),
    ...LATER.map((file) => ({ in: `src/share/${file}`, out: `share-${parse(file).name}` })),
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
const licenses = await Promise.all(
  LIBRARIES.map(async (name) => {
    const text = await readFile(join(here, 'node_modules', name, 'LICENSE'), 'utf8');
    return `${name}\n\n${text.trim()}\n`;
  }),
);
await writeFile(join(target, 'LICENSES.txt'), licenses.join(`\n${'-'.repeat(72)}\n\n`));
