import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import type { BatchResults } from '../../platform/batch.ts';
import { checkBatch } from '../../platform/batch-items.ts';
import { type Transaction, transaction } from '../../platform/db/client.ts';
import { type FieldError, Problem } from '../../platform/errors.ts';
import { enqueue, job } from '../../platform/jobs.ts';
import { parseLine } from '../../platform/json.ts';
import { IdsMerged, withRedirects } from '../../platform/merged-ids.ts';
import { beginWrite, endWrite } from '../../platform/open-writes.ts';
import { type Context, callWithin, createContext, personalScope, type Services } from '../../platform/operation.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { id } from '../../platform/values.ts';
import { membersOf } from '../../records/walk.ts';
import { type Importing, importing } from './kinds.ts';
import { cellMapper, documentMapper } from './mapping.ts';
import {
  type BlockRow,
  type ErrorRow,
  forgetErrors,
  getImport,
  type ImportRow,
  importsToEnd,
  insertErrors,
  nextBlock,
  noteOutcomes,
  type Outcomes,
  setStatus,
  takeBlock,
  unfinished,
} from './queries.ts';

/** Milliseconds after which other work gets its turn: the rest is a job of its own. */
const turn = 5_000;
/** Runs of a block that fails by a fault of the service, before the import is given up. */
const mostAttempts = 5;

/**
 * Writes the lines that wait, block by block. A block is taken, written, counted and its faults are noted in one transaction: whoever
 * dies in between has done nothing of it, and the next run begins with it.
 */
export const runImport = job({
  name: 'runImport',
  payload: z.strictObject({ importId: id }),
  queue: 'imports',
  async run(services, { importId }, { signal, attempt }) {
    const until = performance.now() + turn;
    try {
      let ahead: Promise<ReadBlock | null> | null = null;
      do {
        signal.throwIfAborted();
        const run = await unfinishedRun(services, importId);
        if (!run) return;
        const block: ReadBlock | null = await (ahead ?? readNext(services, run, -1));
        if (!block) {
          if (await finish(services, importId)) return;
          ahead = null;
          continue;
        }
        // The next one is read and checked while the database writes this one.
        ahead = readNext(services, run, block.block);
        ahead.catch(() => undefined);
        await writeBlock(services, run, block);
      } while (performance.now() < until);
    } catch (error) {
      if (!isOurs(error) || attempt < mostAttempts) throw error;
      await end(services, importId, { code: 'internal_error', message: 'Something went wrong here.' });
      throw error;
    }
    await transaction(services.pool, async (tx) => enqueue(tx, runImport, { importId }, { key: importId }));
  },
});

/** Whether it would come again: not of a database that is away, nor of a process that stops. */
function isOurs(error: unknown): boolean {
  if (error instanceof Problem) return error.code !== 'unavailable' && error.code !== 'conflict';
  return !(error instanceof Error && error.name === 'AbortError');
}

/** Hours that an upload is kept at most, and days that its errors are. */
const uploadHours = 24;
const errorDays = 7;
/** Minutes without a byte after which nobody is sending any more. */
const silence = 15;

export const expireImports = job({
  name: 'expireImports',
  payload: z.strictObject({}),
  recurring: '41 * * * *',
  async run(services, _payload, { now }) {
    const before = (milliseconds: number) => new Date(Date.parse(now) - milliseconds).toISOString();
    const ended = await importsToEnd(services.db, {
      uploadedBefore: before(uploadHours * 3_600_000),
      heardBefore: before(silence * 60_000),
    });
    for (const { id: importId, code } of ended) {
      const message =
        code === 'expired'
          ? `The upload was deleted after ${uploadHours} hours. What was written until then stays; send the file again.`
          : 'The upload ended before the file did. Send it again.';
      await end(services, importId, { code, message });
    }
    await forgetErrors(services.db, before(errorDays * 86_400_000));
  },
});

export const importJobs = [runImport, expireImports];

async function end(services: Services, importId: string, failure: ImportRow['failure']): Promise<void> {
  await transaction(services.pool, (tx) =>
    setStatus(tx, importId, { status: 'failed', from: unfinished, failure, now: services.clock() }),
  );
}

/** @returns null: nothing is to be done any more */
async function unfinishedRun(services: Services, importId: string): Promise<ImportRow | null> {
  const run = await getImport(services.db, importId);
  if (!run || (run.status !== 'queued' && run.status !== 'running')) return null;
  if (!isRevoked(services, run)) return run;
  await end(services, importId, {
    code: 'client_revoked',
    message: 'The client that sent the file was disabled. What was written until then stays.',
  });
  return null;
}

/** @returns whether no block is left */
async function finish({ db, pool, clock }: Services, importId: string): Promise<boolean> {
  // The last one of a run that was undone is still there.
  if (await nextBlock(db, importId, -1)) return false;
  await transaction(pool, (tx) =>
    setStatus(tx, importId, { status: 'finished', from: ['queued', 'running'], now: clock() }),
  );
  return true;
}

/** Whether tokens of the client that were issued when it sent the file are still good. */
function isRevoked({ directory }: Services, { client, createdAt }: ImportRow): boolean {
  return directory.isRevoked({ client, jti: undefined, iat: Math.floor(Date.parse(createdAt) / 1000) });
}

interface Line {
  line: number;
  item: Record<string, unknown>;
}

type Fault = Omit<ErrorRow, 'importId'>;

/** A block whose lines were read, and its items checked. */
interface ReadBlock {
  block: number;
  lines: Line[];
  faults: Fault[];
  /** Those of the lines; what is known of them is kept by this list. */
  items: unknown[];
}

async function readNext({ db }: Services, run: ImportRow, after: number): Promise<ReadBlock | null> {
  const found = await nextBlock(db, run.id, after);
  if (!found) return null;
  const kind = importing(run.kind);
  const { lines, faults } = await readBlock(run, kind, found);
  const items = lines.map(({ item }) => item);
  await checkBatch(kind.operation.input.shape['body'], { [kind.plural]: items });
  return { block: found.block, lines, faults, items };
}

async function writeBlock(services: Services, run: ImportRow, read: ReadBlock): Promise<void> {
  const { operation, plural } = importing(run.kind);
  const { block, lines, faults } = read;
  const principal = createPrincipal(run.client, [operation.scope, personalScope]);
  const context: Context = Object.assign(createContext(services, principal, run.id), { keepsSame: true as const });
  let { items } = read;
  const inputOf = () => ({ ...(run.surveyId !== null && { id: run.surveyId }), body: { [plural]: items } });
  const write = async (tx: Transaction): Promise<BatchResults['results']> => {
    if (items.length === 0) return [];
    return ((await callWithin(tx, operation, context, inputOf())) as BatchResults).results; // of a batch
  };
  const note = async (tx: Transaction, results: BatchResults['results']) => {
    const all = [...faults, ...results.flatMap((result) => faultsOf(result, lines[result.index]))];
    if (run.failed < mostFailures)
      await insertErrors(
        tx,
        all.map((fault) => ({ importId: run.id, ...fault })),
      );
    if (!(await noteOutcomes(tx, run.id, outcomesOf(results, faults), context.now))) throw new Cancelled();
  };
  const inTurn = async (dryRun: boolean, work: (tx: Transaction) => Promise<unknown>) => {
    const open = beginWrite(services.clock);
    context.now = open.now;
    try {
      await transaction(services.pool, work, { rollback: dryRun, throwMerged: true });
    } finally {
      endWrite(services.clock, open);
    }
  };
  for (let rounds = 5; ; rounds -= 1) {
    await checkBatch(operation.input.shape['body'], { [plural]: items });
    try {
      if (!run.dryRun) {
        await inTurn(false, async (tx) => {
          if (await takeBlock(tx, run.id, block)) await note(tx, await write(tx));
        });
        return;
      }
      let results: BatchResults['results'] = [];
      await inTurn(true, async (tx) => {
        results = await write(tx);
      });
      await inTurn(false, async (tx) => {
        if (await takeBlock(tx, run.id, block)) await note(tx, results);
      });
      return;
    } catch (error) {
      if (error instanceof Cancelled) return;
      if (!(error instanceof IdsMerged) || rounds === 0) throw error;
      const { redirects } = error;
      items = items.map((item) => withRedirects(item, redirects));
    }
  }
}

/** Undoes what was written of a block: the import was cancelled meanwhile. */
class Cancelled extends Error {}

async function readBlock(
  { format, columns, mapping }: ImportRow,
  { item }: Importing,
  block: BlockRow,
): Promise<{ lines: Line[]; faults: Fault[] }> {
  const read = format === 'csv' ? csvReader(item, columns ?? [], mapping) : ndjsonReader(item, mapping);
  const lines: Line[] = [];
  const faults: Fault[] = [];
  const isNamed = membersOf(item).some(([member]) => member === 'externalId');
  const content = block.content ?? '';
  let from = 0;
  for (const [index, line] of (block.lines ?? []).entries()) {
    const length = block.lengths?.[index] ?? 0;
    const made = await read(content.slice(from, from + length));
    from += length;
    if ('code' in made) faults.push({ line, position: 0, pointer: null, ...made });
    else if (isNamed && made.item['externalId'] === undefined) faults.push({ line, position: 0, ...nameless });
    else lines.push({ line, item: made.item });
  }
  return { lines, faults };
}

/** Without a name a file that is sent again would bring it again. */
const nameless = { code: 'required', pointer: '/externalId', message: 'Required: by it the line is known again.' };

type Made = { item: Line['item'] } | Pick<ErrorRow, 'code' | 'message'>;

function ndjsonReader(item: z.ZodType, mapping: ImportRow['mapping']) {
  const map = documentMapper(item, mapping);
  return async (text: string): Promise<Made> => {
    const value = await parseLine(text).catch(() => undefined);
    if (value === undefined) return { code: 'invalid_json', message: 'The line is not valid JSON.' };
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return { code: 'invalid_type', message: 'The line is not a JSON object.' };
    return { item: map(value as Line['item']) }; // an object
  };
}

function csvReader(item: z.ZodType, columns: readonly (string | null)[], mapping: ImportRow['mapping']) {
  const map = cellMapper(item, columns, mapping);
  return async (text: string): Promise<Made> => {
    let cells: string[] | undefined;
    try {
      [cells] = parse(text, { relax_column_count: true }) as string[][]; // without `columns`
    } catch {
      return { code: 'invalid_csv', message: 'The line cannot be read as CSV: look at its quotation marks.' };
    }
    if (cells?.length === columns.length) return { item: map(cells) };
    const message = `The line has ${cells?.length ?? 0} cells, and the header has ${columns.length}.`;
    return { code: 'wrong_columns', message };
  };
}

function outcomesOf(results: BatchResults['results'], faults: readonly Fault[]): Outcomes {
  const outcomes: Outcomes = { created: 0, updated: 0, unchanged: 0, stale: 0, failed: faults.length };
  for (const { status, warnings } of results) {
    const isStale = status === 'unchanged' && warnings?.some(({ code }) => code === 'source_version_not_newer');
    outcomes[isStale ? 'stale' : status === 'refused' ? 'failed' : status] += 1;
  }
  return outcomes;
}

/** Lines whose faults are kept, and faults of a line. */
const mostFailures = 100_000;
const mostFaults = 10;

function faultsOf({ error }: BatchResults['results'][number], line: Line | undefined): Fault[] {
  if (!error || !line) return [];
  const all: (Pick<FieldError, 'code' | 'message'> & { pointer?: string | undefined })[] = error.errors ?? [
    { code: error.code, message: error.detail },
  ];
  const values = valuesIn(line.item);
  return all.slice(0, mostFaults).map(({ code, pointer = null, message }, position) => ({
    line: line.line,
    position,
    code: code.slice(0, 100),
    pointer: pointer?.slice(0, 2_000) ?? null,
    message: tellsOne(message, values) ? 'The value is refused.' : message.slice(0, 1_000),
  }));
}

/** Texts and numbers of a document, however deep. */
function valuesIn(value: unknown, found: Set<string> = new Set()): Set<string> {
  if (typeof value === 'string' || typeof value === 'number') found.add(String(value).trim().toLowerCase());
  else if (typeof value === 'object' && value !== null) for (const one of Object.values(value)) valuesIn(one, found);
  return found;
}

/** Whether a message repeats a value of the line, which may tell of a person: one or two letters are in every message. */
function tellsOne(message: string, values: ReadonlySet<string>): boolean {
  const text = message.toLowerCase();
  const words = new Set(text.match(/[\p{L}\p{N}]+/gu));
  return [...values].some(
    (value) => words.has(value) || (value.length > 2 && !/^-?\d+$/.test(value) && text.includes(value)),
  );
}
