import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { MultiBar } from 'cli-progress';
import type pg from 'pg';
import { type EmbeddedPostgres, startEmbedded } from '../../src/platform/db/embedded.ts';
import type { Tick } from './store.ts';

export const run = promisify(execFile);

/** Undone at the end, last first, also after a fault or Ctrl-C. */
export type Undo = (() => Promise<unknown> | unknown)[];

/** Whatever is starting is stopped in the end, also when the run is interrupted before it is up. */
export function started<T extends { stop(): Promise<unknown> }>(undo: Undo, starting: Promise<T>): Promise<T> {
  undo.push(() =>
    starting.then(
      (one) => one.stop(),
      () => undefined,
    ),
  );
  return starting;
}

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
  // Receivers are on this machine.
  RAPPORT_WEBHOOK_ALLOW: '127.0.0.1',
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

/**
 * The rows, made by the checkout in `dir` with its migrations, unless an earlier run left them in `root`. Several are filled at once.
 *
 * @param undo what has to be stopped if the run is interrupted meanwhile
 */
export async function filled(root: string, fillings: Filling[], dir: string, undo: Undo): Promise<Filled[]> {
  const format = 'filling {kind} |{bar}| {percentage} % {what}';
  const bars = new MultiBar({ format, clearOnComplete: true });
  const stores = fillings.map(async (filling) => {
    const folder = join(root, `${filling.kind}-${filling.rows}-${schemaOf(dir)}`);
    const complete = join(folder, 'store.json');
    if (!existsSync(complete)) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      chmodSync(folder, 0o711);
      const bar = bars.create(1, 0, { kind: filling.kind, what: '' });
      const store = await fill(folder, filling, dir, undo, (done, steps, what) => {
        bar.setTotal(steps);
        bar.update(done, { what });
      });
      writeFileSync(complete, JSON.stringify(store));
    }
    return { folder, store: JSON.parse(readFileSync(complete, 'utf8')) };
  });
  try {
    return await Promise.all(stores);
  } finally {
    bars.stop();
  }
}

async function fill(folder: string, filling: Filling, dir: string, undo: Undo, tick: Tick): Promise<object> {
  // It need not survive a crash.
  const fast = {
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
    max_wal_size: '8GB',
    autovacuum: 'off',
  };
  const database = await started(undo, startIn(folder, fast));
  try {
    const env = { ...process.env, ...environmentOf(folder), RAPPORT_ALLOW_UNSAFE_DATABASE: 'true' };
    await run('npm', ['run', '--silent', 'migrate'], { cwd: dir, env });
    const module: Record<string, Fill> = await import(pathToFileURL(join(dir, 'scripts/bench', filling.file)).href);
    const store = await module[filling.fill]?.(database.connection, filling.rows, tick);
    if (store === undefined) throw new Error(`${dir} does not know how to fill a store of ${filling.kind}.`);
    return store;
  } finally {
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

/** A folder to work in, which the caller removes: a copy, or the rows themselves where nobody needs them later. */
export async function workplaceOf({ folder }: Filled, root: string, later: boolean): Promise<string> {
  if (!later) return folder;
  const copy = mkdtempSync(join(root, 'run-'));
  // Keeps the owner, which is not this process where that is root.
  await run('cp', ['-a', `${folder}/.`, copy]);
  return copy;
}
