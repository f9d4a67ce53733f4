import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { SingleBar } from 'cli-progress';
import type pg from 'pg';
import { type EmbeddedPostgres, startEmbedded } from '../../src/platform/db/embedded.ts';
import type { Tick } from './store.ts';

export const run = promisify(execFile);

/** Rows of one kind, filled by SQL. Each version brings its own, for its own tables: the file and what it exports. */
export interface Filling {
  kind: string;
  file: string;
  fill: string;
  rows: number;
}

/** A folder that a version of the service can work in: the database and the keys. */
export interface Filled<S = unknown> {
  folder: string;
  store: S;
}

/** What the environment of the shell has set is not what is measured. */
export const environmentOf = (dataDir: string): Record<string, string> => ({
  RAPPORT_DATA_DIR: dataDir,
  RATE_LIMIT: '100000000',
  DATABASE_URL: '',
  JWT_JWKS_URL: '',
  JWT_SIGNING_KEY_FILE: '',
  NODE_ENV: '',
});

/** The newest migration of a checkout: stores of the same name have the same tables. */
export function schemaOf(dir: string): string {
  const journal = JSON.parse(readFileSync(join(dir, 'migrations/meta/_journal.json'), 'utf8'));
  return journal.entries.at(-1).tag;
}

/** The rows, made by the checkout in `dir` with its migrations, unless an earlier run left them in `root`. Nobody works in them: see copyOf. */
export async function filled(root: string, filling: Filling, dir: string): Promise<Filled> {
  const folder = join(root, `${filling.kind}-${filling.rows}-${schemaOf(dir)}`);
  const complete = join(folder, 'store.json');
  if (!existsSync(complete)) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o711 });
    writeFileSync(complete, JSON.stringify(await fill(folder, filling, dir)));
  }
  return { folder, store: JSON.parse(readFileSync(complete, 'utf8')) };
}

async function fill(folder: string, filling: Filling, dir: string): Promise<object> {
  const started = Date.now();
  // It need not survive a crash.
  const fast = {
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
    max_wal_size: '8GB',
    autovacuum: 'off',
  };
  const database = await startIn(folder, fast);
  const bar = new SingleBar({ format: `filling ${filling.kind} |{bar}| {percentage} % {what}`, clearOnComplete: true });
  try {
    const env = { ...process.env, ...environmentOf(folder), RAPPORT_ALLOW_UNSAFE_DATABASE: 'true' };
    await run('npm', ['run', '--silent', 'migrate'], { cwd: dir, env });
    const module: Record<string, Fill> = await import(pathToFileURL(join(dir, 'scripts/bench', filling.file)).href);
    bar.start(1, 0, { what: '' });
    const store = await module[filling.fill]?.(database.connection, filling.rows, (done, steps, what) => {
      bar.setTotal(steps);
      bar.update(done, { what });
    });
    if (store === undefined) throw new Error(`${dir} does not know how to fill a store of ${filling.kind}.`);
    bar.stop();
    const contents = Object.entries(store).map(([what, count]) => `${count} ${what}`);
    console.log(`${filling.kind}: ${contents.join(', ')}, filled in ${Math.round((Date.now() - started) / 1000)} s`);
    return store;
  } finally {
    bar.stop();
    await database.stop();
  }
}

type Fill = (connection: pg.ClientConfig, rows: number, tick: Tick) => Promise<object>;

/** A database in the very folder: where the account that runs it cannot get there, it would be elsewhere and not be copied. */
export async function startIn(folder: string, settings: Record<string, string> = {}): Promise<EmbeddedPostgres> {
  const database = await startEmbedded({ dataDir: folder, settings });
  if (resolve(database.directory) === resolve(folder)) return database;
  await database.stop();
  throw new Error(`The account that runs the database cannot reach ${folder}: choose another --data.`);
}

/** The process that all processes of the database are children of. */
export function postmasterIn(folder: string): number {
  return Number(readFileSync(join(folder, 'postgres/postmaster.pid'), 'utf8').split('\n')[0]);
}

/** A copy to work in. The caller removes it. */
export async function copyOf({ folder }: Filled, root: string): Promise<string> {
  const copy = mkdtempSync(join(root, 'run-'));
  // Keeps the owner, which is not this process where that is root.
  await run('cp', ['-a', `${folder}/.`, copy]);
  await run('chmod', ['711', copy]);
  return copy;
}
