// Makes a component of `app.js`: `node build.mjs WIT_FOLDER OUTPUT`.

import { writeFile } from 'node:fs/promises';
import { argv, env } from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

// The library lies where `cargo xtask foreign` put it.
const library = pathToFileURL(`${env.COMPONENTIZE_JS}/src/componentize.js`);
const { componentize } = await import(library);

const [witPath, output] = argv.slice(2);
const sourcePath = fileURLToPath(new URL('app.js', import.meta.url));
const { component } = await componentize({ sourcePath, witPath, worldName: 'handler' });
await writeFile(output, component);
