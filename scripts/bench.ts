/**
 * `npm run bench`: how near the service comes to a floor (bench/floor.ts) that does only what cannot be left out, on
 * databases of its own: one with a million orders and as many interactions, one with a million leads and five million
 * interactions, one with a million answers to surveys, one with a million customers of whom some are double. Figures are
 * ratios of the same run: they hold on any machine.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { build } from 'esbuild';
import type pg from 'pg';
import { type Config, packageRoot, readConfig } from '../src/config.ts';
import { tablePolicies } from '../src/features.ts';
import { issueToken } from '../src/platform/auth/issue-token.ts';
import { openKeys } from '../src/platform/auth/keys.ts';
import { startEmbedded } from '../src/platform/db/embedded.ts';
import { migrate } from '../src/platform/db/migrate.ts';
import { migrationsFolder } from '../src/platform/db/open.ts';
import { abuse } from './bench/abuse.ts';
import { countAnswerStore, fillAnswerStore } from './bench/answer-store.ts';
import { nps } from './bench/answers.ts';
import { countDuplicateStore, fillDuplicateStore } from './bench/duplicate-store.ts';
import { duplicates } from './bench/duplicates.ts';
import { indexStore, leads } from './bench/lead-measures.ts';
import { countLeadStore, fillLeadStore } from './bench/lead-store.ts';
import { loyalty } from './bench/loyalty.ts';
import { customer, graphql, page, retention, timeline } from './bench/measures.ts';
import { partner } from './bench/partner.ts';
import { type Server, startServer } from './bench/processes.ts';
import { summarizeProfile } from './bench/profile.ts';
import { batch, interactions, post } from './bench/pushes.ts';
import type { Line, Stand } from './bench/stand.ts';
import { countStore, fillStore, type Tick } from './bench/store.ts';
import { training } from './bench/training.ts';
import { countTrainingStore, fillTrainingStore } from './bench/training-store.ts';

/** In the order they run: reads before the writes that make the store grow. */
const measures = { customer, page, timeline, graphql, retention, post, batch, loyalty, interactions, partner, abuse };
/** On the store of leads. */
const leadMeasures = { leads };
/** On a store of leads that there is something to learn from. */
const trainingMeasures = { training };
/** On a store of answers to surveys. */
const answerMeasures = { nps };
/** On a store of customers of whom some are double. */
const duplicateMeasures = { duplicates };

interface Options {
  orders: number;
  leads: number;
  trainingLeads: number;
  answers: number;
  customers: number;
  only?: string;
  data?: string;
  rounds: number;
  seconds: number;
  profile: boolean;
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A positive whole number.');
  return Number(text);
}

const names = [
  'start',
  ...[measures, leadMeasures, trainingMeasures, answerMeasures, duplicateMeasures].flatMap((all) => Object.keys(all)),
];
const options = new Command('bench')
  .description('Compares the service with a bare floor on this machine.')
  .option('--orders <count>', 'orders in the store', positive, 1_000_000)
  .option('--leads <count>', 'leads in the store of leads', positive, 1_000_000)
  .option('--training-leads <count>', 'leads in the store to learn from', positive, 100_000)
  .option('--answers <count>', 'answers in the store of answers', positive, 1_000_000)
  .option('--customers <count>', 'customers in the store of double ones', positive, 1_000_000)
  .option('--only <measure>', `one of ${names.join(', ')}`)
  .option('--data <folder>', 'keep the filled stores here for the next run; otherwise in a folder that is deleted')
  .option('--rounds <count>', 'rounds per measure', positive, 5)
  .option('--seconds <count>', 'seconds per round and server', positive, 3)
  .option('--profile', 'write a profile of the service and print where the time went', false)
  .parse()
  .opts<Options>();
if (options.only !== undefined && !names.includes(options.only)) {
  console.error(`--only is one of ${names.join(', ')}.`);
  process.exit(1);
}

/** What is undone at the end, last first, also after a fault or Ctrl-C. */
const undo: (() => Promise<unknown> | unknown)[] = [];
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    cleanUp().finally(() => process.exit(130));
  });
}

/** Undoes all that was done since there were `left` things to undo. */
async function cleanUp(left = 0): Promise<void> {
  while (undo.length > left) await undo.pop()?.();
}

/** Where a store is, and how the service is told. */
interface Place {
  config: Config;
  env: Record<string, string>;
  log: string;
  token: string;
}

async function main(): Promise<Line[]> {
  const folder = options.data === undefined ? temporaryFolder() : resolve(options.data);
  mkdirSync(folder, { recursive: true });
  await Promise.all([buildFloor(), import('./build.ts')]);
  const lines: Line[] = [];
  if (['start', ...Object.keys(measures)].some(wanted)) {
    const place = await placeOf(join(folder, 'data'), join(folder, 'bench.log'));
    const store = await prepared(place.config.dataDir, {
      count: countStore,
      fill: (connection, tick) => fillStore(connection, options.orders, tick),
    });
    if (wanted('start')) lines.push(await start(place));
    lines.push(...(await measured(place, store, measures)));
  }
  if (Object.keys(leadMeasures).some(wanted)) {
    const place = await placeOf(join(folder, 'leads'), join(folder, 'bench.log'));
    const store = await prepared(place.config.dataDir, {
      count: countLeadStore,
      fill: (connection, tick) => fillLeadStore(connection, options.leads, tick),
      finish: (connection) => indexStore(connection, place.config),
    });
    lines.push(...(await measured(place, store, leadMeasures)));
  }
  if (Object.keys(trainingMeasures).some(wanted)) {
    const place = await placeOf(join(folder, 'training'), join(folder, 'bench.log'));
    const store = await prepared(place.config.dataDir, {
      count: countTrainingStore,
      fill: (connection, tick) => fillTrainingStore(connection, options.trainingLeads, tick),
    });
    lines.push(...(await measured(place, store, trainingMeasures, 400e6)));
  }
  if (Object.keys(answerMeasures).some(wanted)) {
    const place = await placeOf(join(folder, 'answers'), join(folder, 'bench.log'));
    const store = await prepared(place.config.dataDir, {
      count: countAnswerStore,
      fill: (connection, tick) => fillAnswerStore(connection, options.answers, tick),
    });
    lines.push(...(await measured(place, store, answerMeasures)));
  }
  if (Object.keys(duplicateMeasures).some(wanted)) {
    const place = await placeOf(join(folder, 'duplicates'), join(folder, 'bench.log'));
    const store = await prepared(place.config.dataDir, {
      count: countDuplicateStore,
      fill: (connection, tick) => fillDuplicateStore(connection, options.customers, tick),
    });
    lines.push(...(await measured(place, store, duplicateMeasures)));
  }
  return lines;
}

async function placeOf(dataDir: string, log: string): Promise<Place> {
  const env = {
    RAPPORT_DATA_DIR: dataDir,
    RATE_LIMIT: '100000000',
    // What the shell has set is not what is measured.
    DATABASE_URL: '',
    JWT_JWKS_URL: '',
    JWT_SIGNING_KEY_FILE: '',
    NODE_ENV: '',
  };
  const config = readConfig(env);
  const keys = await openKeys(config);
  if (keys.signing === null) throw new Error('The bench signs its own tokens.');
  const token = issueToken(config, keys.signing, { scope: '*', client: 'bench', ttl: 7200 });
  return { config, env, log, token };
}

/** Starts database, service and floor on a store that is filled, takes the measures, and stops them again. */
async function measured<S>(
  { config, env, log, token }: Place,
  store: S,
  wantedOf: Record<string, (stand: Stand<S>) => Promise<Line[]>>,
  mostMemory = 200e6,
): Promise<Line[]> {
  const chosen = Object.entries(wantedOf).filter(([name]) => wanted(name));
  if (chosen.length === 0) return [];
  const left = undo.length;
  const database = await startEmbedded({ dataDir: config.dataDir });
  undo.push(() => database.stop());
  const profiles = mkdtempSync(join(tmpdir(), 'rapport-profile-'));
  const profiling = options.profile ? ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profiles}`] : [];
  const node = (name: Server['name'], script: string, flags: string[]) =>
    startServer({
      name,
      command: process.execPath,
      arguments: [...flags, '--enable-source-maps', join(packageRoot, '.build', script)],
      cwd: packageRoot,
      env,
      log,
    });
  // As `npm start` has it.
  const service = await node('service', 'server.js', ['--max-semi-space-size=16', ...profiling]);
  undo.push(() => service.stop());
  const floor = await node('floor', 'bench-floor.js', []);
  undo.push(() => floor.stop());

  const stand: Stand<S> = { service, floor, token, config, connection: database.connection, store, effort: options };
  const lines: Line[] = [];
  for (const [name, measure] of chosen) {
    console.log(`measuring ${name} …`);
    lines.push(...(await measure(stand)));
  }
  lines.push(memory(service, mostMemory));
  if (options.profile) {
    await service.stop();
    console.log(`\n${summarizeProfile(profiles, join(packageRoot, '.build', 'server.js'), packageRoot)}`);
    console.log(`the whole profile: ${profiles}\n`);
  } else {
    rmSync(profiles, { recursive: true });
  }
  await cleanUp(left);
  return lines;
}

function wanted(name: string): boolean {
  return options.only === undefined || options.only === name;
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rapport-bench-'));
  // Under root the database runs as another account, which has to get there.
  chmodSync(folder, 0o711);
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The store in `dataDir`; filled now unless an earlier run left it, by a server that need not survive a crash. */
async function prepared<S extends object>(
  dataDir: string,
  {
    count,
    fill,
    finish,
  }: {
    count: (connection: pg.ClientConfig) => Promise<S | null>;
    fill: (connection: pg.ClientConfig, tick: Tick) => Promise<S>;
    finish?: (connection: pg.ClientConfig) => Promise<void>;
  },
): Promise<S> {
  const left = undo.length;
  const server = await startEmbedded({
    dataDir,
    settings: {
      fsync: 'off',
      full_page_writes: 'off',
      synchronous_commit: 'off',
      max_wal_size: '8GB',
      autovacuum: 'off',
    },
  });
  undo.push(() => server.stop());
  await migrate(server.connection, { folder: migrationsFolder, access: tablePolicies() });
  const found = await count(server.connection);
  const store = found ?? (await filled(server.connection, fill));
  if (found) console.log(`the store of an earlier run: ${contents(found)}`);
  if (finish) {
    const started = Date.now();
    await finish(server.connection);
    console.log(`jobs of the service on it: ${secondsSince(started)} s`);
  }
  await cleanUp(left);
  return store;
}

async function filled<S extends object>(
  connection: pg.ClientConfig,
  fill: (connection: pg.ClientConfig, tick: Tick) => Promise<S>,
): Promise<S> {
  const bar = new SingleBar({ format: 'filling a store |{bar}| {percentage} % {what}', clearOnComplete: true });
  bar.start(1, 0, { what: '' });
  const started = Date.now();
  const store = await fill(connection, (done, steps, what) => {
    bar.setTotal(steps);
    bar.update(done, { what });
  });
  bar.stop();
  console.log(`a store of ${contents(store)}, filled in ${secondsSince(started)} s`);
  return store;
}

const contents = (store: object) =>
  Object.entries(store)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ');
const secondsSince = (started: number) => Math.round((Date.now() - started) / 1000);

async function buildFloor(): Promise<void> {
  await build({
    entryPoints: [join(packageRoot, 'scripts/bench/floor.ts')],
    outfile: join(packageRoot, '.build/bench-floor.js'),
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  });
}

/** `npm start` on data that is there, until a request with a token has its answer. */
async function start({ env, token, log }: Place): Promise<Line> {
  console.log('measuring start …');
  const server = await startServer({
    name: 'service',
    command: 'npm',
    arguments: ['start', '--silent'],
    cwd: packageRoot,
    env,
    log,
  });
  const left = undo.push(() => server.stop()) - 1;
  const asked = process.hrtime.bigint();
  const response = await fetch(`${server.origin}/v1/customers?limit=1`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  await response.text();
  const seconds = server.startSeconds + Number(process.hrtime.bigint() - asked) / 1e9;
  await cleanUp(left);
  return {
    measure: 'first answer after npm start',
    service: `${seconds.toFixed(1)} s`,
    floor: '',
    ratio: null,
    target: '≤ 5 s',
    met: response.ok && seconds <= 5,
  };
}

function memory(service: Server, most: number): Line {
  const peak = service.memory()?.peak ?? Number.NaN;
  return {
    measure: 'resident memory, at most',
    service: `${(peak / 1e6).toFixed(0)} MB`,
    floor: '',
    ratio: null,
    target: `≤ ${most / 1e6} MB`,
    met: Number.isNaN(peak) ? null : peak <= most,
  };
}

function print(lines: Line[]): void {
  const cells = lines.map((line) => [
    line.measure,
    line.service,
    line.floor,
    line.ratio?.toFixed(2) ?? '',
    line.target,
    line.met === null ? 'not measured' : line.met ? 'met' : 'MISSED',
  ]);
  const head = ['measure', 'service', 'floor', 'ratio', 'target', ''];
  const widths = head.map((title, column) => Math.max(...[head, ...cells].map((row) => (row[column] ?? title).length)));
  for (const row of [head, widths.map((width) => '─'.repeat(width)), ...cells]) {
    console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  }
  const notes = lines.flatMap(({ measure, note }) => (note === undefined ? [] : [`${measure}: ${note}`]));
  console.log(`\n${notes.join('\n')}\n${availableParallelism()} cores, Node.js ${process.version}`);
}

const started = Date.now();
try {
  const lines = await main();
  console.log();
  print(lines);
  console.log(`${secondsSince(started)} s in all`);
  if (lines.some(({ met }) => met === false)) process.exitCode = 1;
} catch (error) {
  if (!interrupted) console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
