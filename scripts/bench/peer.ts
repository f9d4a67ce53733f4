import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { packageRoot } from '../../src/config.ts';
import { type HttpProcess, processorTimeOf, startProcess } from './processes.ts';
import type { Place } from './servers.ts';
import type { Server } from './stand.ts';
import { run } from './stores.ts';

/** Peers are fetched when they are asked for; nothing of ours depends on them. */
const folder = join(packageRoot, '.build/peer');
const oldestNode = 22;

/** PostGraphile 5 on the rows of the new version: no token, no audit, all tables of the schema. */
export async function startPeer(place: Place): Promise<Server & HttpProcess> {
  const node = findNode();
  await fetchPackages(['postgraphile@5', ...(node === null ? ['node@24'] : [])]);
  const { host, port, user, database } = place.connection;
  const connection = `postgres://${user}@localhost/${database}?host=${encodeURIComponent(String(host))}&port=${port}`;
  const script = join(folder, 'node_modules/postgraphile/dist/cli-run.js');
  const server = await startProcess({
    name: 'PostGraphile',
    command: node ?? join(folder, 'node_modules/.bin/node'),
    arguments: (own) => {
      const preset = ['-P', 'postgraphile/presets/amber', '-c', connection, '-s', 'public'];
      return [script, ...preset, '-n', '127.0.0.1', '-p', String(own)];
    },
    cwd: folder,
    env: { NODE_ENV: 'production', GRAPHILE_ENV: 'production' },
    log: place.log,
    probe: '/graphql?query=%7B__typename%7D',
    patience: 60,
  });
  const spent = () => ({ server: processorTimeOf(server.pid), postgres: processorTimeOf(place.postmaster) });
  return { ...server, name: 'peer', token: '', connection: place.connection, spent };
}

/** One that is new enough: this one, or another on the path. */
function findNode(): string | null {
  const names = ['node', 'nodejs', 'node22', 'node24'];
  const others = (process.env.PATH ?? '').split(delimiter).flatMap((path) => names.map((name) => join(path, name)));
  return [process.execPath, ...others.filter(existsSync)].find((path) => majorOf(path) >= oldestNode) ?? null;
}

function majorOf(path: string): number {
  try {
    return Number(/^v(\d+)/.exec(execFileSync(path, ['--version'], { encoding: 'utf8' }))?.[1]);
  } catch {
    return 0;
  }
}

async function fetchPackages(packages: string[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const missing = packages.filter((name) => !existsSync(join(folder, 'node_modules', name.split('@')[0] ?? name)));
  if (missing.length === 0) return;
  console.log(`fetching ${missing.join(', ')} …`);
  await run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', ...missing], { cwd: folder });
}
