/**
 * `npm run check:breaking` compares both contracts with those of the last release (test/contract/release) and fails where
 * a client of that release would break. A change that is meant is in deliberate.json there, with its reason.
 * `-- --release` makes the present contracts those of the last release, which is part of making one.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { Command } from 'commander';
import { parse } from 'yaml';
import { packageRoot } from '../src/config.ts';
import { breakingGraphqlChanges, breakingOpenApiChanges } from './contract-changes.ts';

const folder = join(packageRoot, 'test/contract/release');
const contracts = ['openapi.yaml', 'schema/schema.graphql'] as const;

const { release } = new Command('check-breaking')
  .option('--release', 'make the present contracts those of the last release')
  .allowExcessArguments(false)
  .parse()
  .opts<{ release?: boolean }>();

if (release) {
  for (const path of contracts) writeFileSync(released(path), gzipSync(readFileSync(join(packageRoot, path))));
  writeFileSync(join(folder, 'deliberate.json'), '{}\n');
} else {
  const found = await breakingChanges();
  const deliberate = JSON.parse(readFileSync(join(folder, 'deliberate.json'), 'utf8')) as Record<string, string>; // change → reason
  const broken = found.filter((change) => !(change in deliberate));
  const stale = Object.keys(deliberate).filter((change) => !found.includes(change));
  for (const change of broken) console.error(`breaks clients: ${change}`);
  for (const change of stale) console.error(`is in deliberate.json, but is no longer a change: ${change}`);
  if (broken.length + stale.length > 0) process.exitCode = 1;
  else console.log(`No client of the last release breaks, but for ${found.length} deliberate changes.`);
}

async function breakingChanges(): Promise<string[]> {
  const [openapi, sdl] = contracts;
  const rest = breakingOpenApiChanges(parse(before(openapi)), parse(now(openapi)));
  const graphql = await breakingGraphqlChanges(before(sdl), now(sdl));
  return [...rest.map((change) => `REST: ${change}`), ...graphql.map((change) => `GraphQL: ${change}`)];
}

function before(path: string): string {
  return gunzipSync(readFileSync(released(path))).toString();
}

function now(path: string): string {
  return readFileSync(join(packageRoot, path), 'utf8');
}

function released(path: string): string {
  return join(folder, `${path.split('/').at(-1)}.gz`);
}
