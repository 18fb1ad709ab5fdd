// Builds the pages into a folder: `node build.mjs dist`.

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve as resolvePath } from 'node:path';

import { build } from 'esbuild';

/** Each page is a folder of src/ with page.html, main.ts and style.css. */
const PAGES = ['console', 'share'];

/** Libraries with code or data in the build, whose licenses must be included. */
const LIBRARIES = ['leaflet', 'socket.io-client', 'topojson-client', 'world-atlas'];

const here = import.meta.dirname;
const { resolve } = createRequire(import.meta.url);
const target = resolvePath(process.argv[2] ?? 'dist');

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: PAGES.flatMap((page) => [
    { in: `src/${page}/main.ts`, out: page },
    { in: `src/${page}/style.css`, out: page },
  ]),
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
