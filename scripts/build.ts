import { join } from 'node:path';
import { build } from 'esbuild';
import { packageRoot } from '../src/config.ts';

/** One file of JavaScript out of src/, so that a start parses no TypeScript. Dependencies stay in node_modules. */
await build({
  entryPoints: [join(packageRoot, 'src/server.ts')],
  outfile: join(packageRoot, '.build/server.js'),
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // A text with a character beyond Latin-1 takes two bytes for each: those of comments go, the others are escaped.
  charset: 'ascii',
  minifyWhitespace: true,
  sourcemap: true,
  logLevel: 'warning',
});
