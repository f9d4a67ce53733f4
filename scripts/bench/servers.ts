import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import pg from 'pg';
import { packageRoot } from '../../src/config.ts';
import type { Name } from './compete.ts';
import { type HttpProcess, processorTimeOf, startProcess } from './processes.ts';
import type { Server, Version } from './stand.ts';
import {
  environmentOf,
  type Filled,
  postmasterIn,
  run,
  schemaOf,
  started,
  startIn,
  type Undo,
  workplaceOf,
} from './stores.ts';

/** Where a version works: its checkout, its copy of the rows, and the database that runs on it. */
export interface Place {
  name: Name;
  dir: string;
  folder: string;
  connection: pg.ClientConfig;
  postmaster: number;
  env: Record<string, string>;
  log: string;
}

interface PlaceOptions {
  rows: Filled;
  /** The checkout that made them. */
  filledBy: string;
  root: string;
  /** Whether the rows are still needed later, as they are. */
  later: boolean;
  log: string;
  undo: Undo;
}

/** Gives a version a copy of the rows with a database on it, brought up to date by the version itself. */
export async function placeOf(
  { name, dir }: { name: Name; dir: string },
  { rows, filledBy, root, later, log, undo }: PlaceOptions,
): Promise<Place> {
  const folder = await workplaceOf(rows, root, later);
  undo.push(() => run('rm', ['-rf', folder]));
  const database = await started(undo, startIn(folder));
  const { connection } = database;
  const place = { name, dir, folder, connection, postmaster: postmasterIn(folder), env: environmentOf(folder), log };
  if (schemaOf(dir) !== schemaOf(filledBy)) await upgrade(place, undo);
  return place;
}

/** As an upgrade does it: the new version is started on the rows of the old one. Then no version has emptier pages than the other. */
async function upgrade(place: Place, undo: Undo): Promise<void> {
  const server = await started(undo, serve(place));
  await server.stop();
  const client = new pg.Client(place.connection);
  await client.connect();
  await client.query('vacuum (full, analyze)');
  await client.end();
}

/** Starts the service as `npm start` does, after its own build. */
export async function startVersion(place: Place, undo: Undo, flags: string[] = []): Promise<Version & HttpProcess> {
  const server = await started(undo, serve(place, flags));
  const issueToken = (options: string[]) => tokenOf(place, options);
  return {
    ...server,
    ...place,
    token: await issueToken([]),
    spent: () => ({ server: processorTimeOf(server.pid), postgres: processorTimeOf(place.postmaster) }),
    issueToken,
  };
}

function serve({ name, dir, env, log }: Place, flags: string[] = []): Promise<HttpProcess> {
  const { scripts } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const command = scripts.start.replace('node ', `node ${flags.join(' ')} `);
  const options = { name, command: 'sh', arguments: () => ['-c', command], cwd: dir, env, log };
  // Upgrades of a large store take their time.
  return startProcess({ ...options, probe: '/livez', patience: 900 });
}

async function tokenOf({ dir, env }: Place, options: string[]): Promise<string> {
  const arguments_ = [
    'run',
    '--silent',
    'token',
    '--',
    '--scope',
    '*',
    '--client',
    'bench',
    '--ttl',
    '14400',
    ...options,
  ];
  const { stdout } = await run('npm', arguments_, { cwd: dir, env: { ...process.env, ...env } });
  return stdout.trim();
}

/** On the rows and with the keys of the new version. */
export async function startFloor(place: Place, token: string): Promise<Server & HttpProcess> {
  const server = await startProcess({
    name: 'floor',
    command: process.execPath,
    arguments: () => ['--enable-source-maps', join(packageRoot, '.build/bench-floor.js')],
    cwd: packageRoot,
    env: place.env,
    log: place.log,
    probe: '/livez',
    patience: 60,
  });
  const spent = () => ({ server: processorTimeOf(server.pid), postgres: processorTimeOf(place.postmaster) });
  return { ...server, name: 'floor', token, connection: place.connection, spent };
}

export async function buildAll(dirs: string[]): Promise<void> {
  mkdirSync(join(packageRoot, '.build'), { recursive: true });
  const floor = build({
    entryPoints: [join(packageRoot, 'scripts/bench/floor.ts')],
    outfile: join(packageRoot, '.build/bench-floor.js'),
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  });
  await Promise.all([floor, ...dirs.map((cwd) => run('npm', ['run', '--silent', 'build'], { cwd }))]);
}
