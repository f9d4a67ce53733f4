/**
 * `npm run bench`: how near the service comes to a floor (bench/floor.ts) that does only what cannot be left out, and to another
 * version or product, on rows of its own. All of them are measured in turn in one run, so the ratios hold on any machine.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { packageRoot } from '../src/config.ts';
import { failed, type Line, line, type Measure } from './bench/measure.ts';
import { type Subject, subjects } from './bench/measures.ts';
import { startPeer } from './bench/peer.ts';
import { memory } from './bench/process.ts';
import { summarizeProfile } from './bench/profile.ts';
import { buildAll, placeOf, startFloor, startVersion } from './bench/servers.ts';
import type { Stand } from './bench/stand.ts';
import { type Filled, type Filling, filled, started, type Undo } from './bench/stores.ts';
import { print } from './bench/table.ts';

interface Options {
  against?: string;
  peer?: 'postgraphile';
  quick: boolean;
  orders?: number;
  leads?: number;
  rounds?: number;
  seconds?: number;
  data?: string;
  json?: string;
  profile: boolean;
}

function positive(text: string): number {
  const value = Number(text);
  if (!/^\d{1,9}(\.\d+)?$/.test(text) || value === 0) throw new InvalidArgumentError('A positive number.');
  return value;
}

function oneOf(...words: string[]) {
  return (text: string) => {
    if (!words.includes(text)) throw new InvalidArgumentError(`One of ${words.join(', ')}.`);
    return text;
  };
}

const known = subjects.flatMap(({ groups }) =>
  Object.entries(groups).flatMap(([name, measures]) => [name, ...measures.map((measure) => measure.name)]),
);
const command = new Command('bench')
  .description('Compares the service with a bare floor, another version or another product on this machine.')
  .argument('[measures...]', 'measures or groups of them; "all"; "list" names them. Default: all on orders and leads')
  .option('--against <folder>', 'a checkout of another version, with its node_modules: measured on the same rows')
  .option('--peer <product>', 'postgraphile, which is fetched if need be', oneOf('postgraphile'))
  .option('--quick', '100000 rows, few and short slices', false)
  .option('--orders <count>', 'orders in the store, and as many interactions (default: 1000000)', positive)
  .option('--leads <count>', 'leads in the store of leads (default: 1000000)', positive)
  .option('--rounds <count>', 'slices of each (default: 5)', positive)
  .option('--seconds <count>', 'length of a slice (default: 1)', positive)
  .option('--data <folder>', 'keep the filled stores here for the next run')
  .option('--json <file>', 'write all figures there, too')
  .option('--profile', 'write a profile of the service and print where the time went', false)
  .parse();
const options = command.opts<Options>();
const names = command.args;
const unknown = names.filter((name) => !known.includes(name) && name !== 'all' && name !== 'list');
if (unknown.length > 0 || names.includes('list')) {
  console.error(`The measures are ${[...new Set(known)].join(', ')}.`);
  process.exit(names.includes('list') ? 0 : 1);
}
const effort = {
  rounds: options.rounds ?? (options.quick ? 3 : 5),
  seconds: options.seconds ?? (options.quick ? 0.3 : 1),
};

const undo: Undo = [];
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

async function main(): Promise<Line[]> {
  const root = options.data === undefined ? temporaryFolder() : resolve(options.data);
  mkdirSync(root, { recursive: true });
  const old = options.against === undefined ? null : resolve(options.against);
  await buildAll([packageRoot, ...(old === null ? [] : [old])]);
  const wanted = subjects
    .map((subject) => ({ subject, measures: chosen(subject) }))
    .filter(({ measures }) => measures.length > 0);
  // The older version's tables: the newer one can bring them up to date, and not the other way round.
  const filledBy = old ?? packageRoot;
  const began = Date.now();
  const fillings = wanted.map(({ subject: { filling } }) => ({ ...filling, rows: rowsOf(filling) }));
  const stores = await filled(root, fillings, filledBy, undo);
  console.log(
    `stores of ${fillings.map(({ kind, rows }) => `${rows} ${kind}`).join(', ')}: ready after ${secondsSince(began)} s`,
  );
  const lines: Line[] = [];
  for (const [index, { subject, measures }] of wanted.entries()) {
    const rows = stores[index];
    if (rows) lines.push(...(await measured(subject, measures, { rows, filledBy, old, root })));
  }
  return lines;
}

const secondsSince = (began: number) => Math.round((Date.now() - began) / 1000);

function rowsOf({ kind, rows }: Filling): number {
  const given = { orders: options.orders, leads: options.leads }[kind];
  return given ?? (options.quick ? Math.min(100_000, rows) : rows);
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rapport-bench-'));
  // Under root the database runs as another account, which has to get there.
  chmodSync(folder, 0o711);
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function chosen({ groups, usual }: Subject): Measure<never>[] {
  return Object.entries(groups).flatMap(([group, measures]) =>
    measures.filter(({ name, onlyNamed = false }) => {
      if (names.includes(name)) return true;
      return !onlyNamed && (names.length === 0 ? usual : names.includes(group) || names.includes('all'));
    }),
  );
}

interface Ground {
  rows: Filled;
  filledBy: string;
  old: string | null;
  root: string;
}

/** Starts all who are measured, each version on a copy of the rows, takes the measures, and stops them again. */
async function measured(subject: Subject, measures: Measure<never>[], ground: Ground): Promise<Line[]> {
  const { kind } = subject.filling;
  const left = undo.length;
  const { stand, summary } = await standOn(ground, kind === 'orders' && options.peer === 'postgraphile');
  const what = (when: string) => `resident memory ${when}, store of ${kind}`;
  const lines = [line(what('after the start'), 'MB', memory(stand, 'resident'), subject.memory.atStart)];
  for (const measure of measures) {
    const began = Date.now();
    try {
      lines.push(...(await measure.run(stand as Stand<never>))); // the groups of a subject are about its rows
    } catch (error) {
      if (interrupted) throw error;
      lines.push(failed(measure.name, error));
    }
    console.log(`${measure.name}: measured in ${secondsSince(began)} s`);
  }
  lines.push(
    line(what('at most'), 'MB', memory(stand, 'peak'), subject.memory.atMost),
    line(what('at the end'), 'MB', memory(stand, 'resident')),
  );
  await summary();
  await cleanUp(left);
  return lines;
}

async function standOn(
  { rows, filledBy, old, root }: Ground,
  withPeer: boolean,
): Promise<{ stand: Stand<unknown>; summary: () => Promise<void> }> {
  const log = join(root, 'bench.log');
  const profiles = options.profile ? mkdtempSync(join(tmpdir(), 'rapport-profile-')) : null;
  const flags = profiles === null ? [] : ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profiles}`];
  const start = async (name: 'old' | 'new', dir: string) => {
    const later = options.data !== undefined || name === 'old';
    const place = await placeOf({ name, dir }, { rows, filledBy, root, later, log, undo });
    const version = await startVersion(place, undo, name === 'new' ? flags : []);
    return { place, version };
  };
  const before = old === null ? [] : [await start('old', old)];
  const ours = await start('new', packageRoot);
  const floor = await started(undo, startFloor(ours.place, ours.version.token));
  const other = withPeer
    ? await started(undo, startPeer(ours.place)).catch((error: unknown) => {
        console.error(`There is no peer: ${error instanceof Error ? error.message : error}`);
        return null;
      })
    : null;
  const versions = [...before, ours].map(({ version }) => version);
  return {
    stand: { versions, floor, peer: other, store: rows.store, effort },
    async summary() {
      if (profiles === null) return;
      await ours.version.stop();
      console.log(`\n${summarizeProfile(profiles, join(packageRoot, '.build/server.js'), packageRoot)}`);
      console.log(`the whole profile: ${profiles}\n`);
    },
  };
}

const beganAt = Date.now();
try {
  const lines = await main();
  console.log();
  print(lines);
  console.log(`${secondsSince(beganAt)} s in all`);
  if (options.json !== undefined) {
    const run = {
      at: new Date(beganAt).toISOString(),
      node: process.version,
      cores: availableParallelism(),
      options,
      effort,
    };
    writeFileSync(options.json, `${JSON.stringify({ ...run, lines }, null, 2)}\n`);
  }
  if (lines.some(({ met, faulty }) => met === false || faulty)) process.exitCode = 1;
} catch (error) {
  if (!interrupted) console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
