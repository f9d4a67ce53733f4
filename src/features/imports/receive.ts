import { parse } from 'csv-parse/sync';
import { transaction } from '../../platform/db/client.ts';
import { type FieldError, notFound, Problem } from '../../platform/errors.ts';
import { enqueue } from '../../platform/jobs.ts';
import type { Context } from '../../platform/operation.ts';
import { answeredMembers } from '../../records/table.ts';
import { importing } from './kinds.ts';
import { columnsOf } from './mapping.ts';
import {
  getImport,
  type ImportRow,
  insertBlock,
  insertErrors,
  noteReceived,
  saveColumns,
  setStatus,
} from './queries.ts';
import { type Import, importFields } from './record.ts';
import { runImport } from './run.ts';
import { csvSplitter, type Found, type LineFault, lineFaults, lineSplitter, type Splitter } from './split.ts';

/** Lines of a block: a batch has as many at most. */
const mostLines = 1_000;
/** Characters of a block; its last line may go beyond. */
const mostCharacters = 2_000_000;

/**
 * Takes an upload: finds its lines and puts them away, a block at a time, each in a transaction of its own. The next bytes are read when
 * a block is stored, so a slow database slows the sender, and memory holds one block.
 *
 * @throws Problem what is wrong with the file as a whole; the import has failed then, and nothing of it is written
 */
export async function receiveImport(context: Context, { id }: Import, file: AsyncIterable<Buffer>): Promise<Import> {
  const run = await getImport(context.db, id);
  if (!run) throw notFound('import');
  // The answer to a request that was sent twice.
  if (run.status !== 'receiving') return answeredMembers(importFields, run);
  try {
    await stage(context, run, file);
    const queued = await transaction(context.pool, async (tx) => {
      enqueue(tx, runImport, { importId: id }, { key: id });
      return setStatus(tx, id, { status: 'queued', from: ['receiving'], now: context.clock() });
    });
    return answeredMembers(importFields, queued ?? (await getImport(context.db, id)) ?? run);
  } catch (error) {
    await fail(context, id, error);
    throw error;
  }
}

async function fail({ pool, clock }: Context, id: string, error: unknown): Promise<void> {
  const { code, message } = failureOf(error);
  await transaction(pool, (tx) =>
    setStatus(tx, id, { status: 'failed', from: ['receiving'], failure: { code, message }, now: clock() }),
  ).catch(() => undefined); // the upload's own fault is the one to tell; what stays here expires
}

function failureOf(error: unknown): Pick<FieldError, 'code' | 'message'> {
  if (!(error instanceof Problem)) return { code: 'internal_error', message: 'Something went wrong here.' };
  return { code: error.errors[0]?.code ?? error.code, message: error.message };
}

async function stage(context: Context, run: ImportRow, file: AsyncIterable<Buffer>): Promise<void> {
  const splitter: Splitter = run.format === 'csv' ? csvSplitter() : lineSplitter();
  const block = new Block(context, run);
  let headerIsKnown = run.format !== 'csv';
  const take = async (found: readonly Found[]) => {
    for (const one of found) {
      if (!headerIsKnown) {
        await saveHeader(context, run, one);
        headerIsKnown = true;
      } else if (block.add(one)) await block.store();
    }
  };
  for await (const chunk of file) {
    block.bytes += chunk.length;
    await take(splitter.take(chunk));
  }
  await take(splitter.end());
  if (!headerIsKnown) throw broken('empty_file', 'The file is empty: its first line names the columns.');
  await block.store();
}

async function saveHeader(context: Context, { id, kind, mapping }: ImportRow, found: Found): Promise<void> {
  if ('fault' in found) throw broken(found.fault, `The first line names the columns. ${lineFaults[found.fault]}`);
  const columns = columnsOf(importing(kind).item, cellsOf(found.text), mapping);
  await transaction(context.pool, (tx) => saveColumns(tx, id, columns, context.clock()));
}

function cellsOf(text: string): string[] {
  try {
    const [cells = []] = parse(text, { relax_column_count: true, trim: true }) as string[][]; // without `columns`
    return cells;
  } catch {
    throw broken('invalid_csv', 'The first line names the columns, separated by commas. It cannot be read.');
  }
}

function broken(code: string, message: string): Problem {
  return new Problem('broken_upload', message, { errors: [{ code, message }] });
}

class Block {
  bytes = 0;
  readonly #context: Context;
  readonly #importId: string;
  #block = 0;
  #lines: number[] = [];
  #texts: string[] = [];
  #size = 0;
  #faults: { line: number; fault: LineFault }[] = [];

  constructor(context: Context, { id }: ImportRow) {
    this.#context = context;
    this.#importId = id;
  }

  /** @returns whether it is full */
  add(found: Found): boolean {
    if ('fault' in found) this.#faults.push(found);
    else {
      this.#lines.push(found.line);
      this.#texts.push(found.text);
      this.#size += found.text.length;
    }
    return this.#lines.length + this.#faults.length >= mostLines || this.#size >= mostCharacters;
  }

  async store(): Promise<void> {
    const importId = this.#importId;
    const { pool, clock } = this.#context;
    const noted = {
      id: importId,
      lines: this.#lines.length + this.#faults.length,
      bytes: this.bytes,
      failed: this.#faults.length,
    };
    const errors = this.#faults.map(({ line, fault }) => ({
      importId,
      line,
      position: 0,
      code: fault,
      pointer: null,
      message: lineFaults[fault],
    }));
    const isWanted = await transaction(pool, async (tx) => {
      if (this.#lines.length > 0) {
        await insertBlock(tx, {
          importId,
          block: this.#block,
          lines: this.#lines,
          lengths: this.#texts.map(({ length }) => length),
          content: this.#texts.join(''),
        });
      }
      await insertErrors(tx, errors);
      return noteReceived(tx, { ...noted, now: clock() });
    });
    if (!isWanted) throw new Problem('conflict', 'The import was cancelled while its file was sent.');
    this.#block += 1;
    this.#lines = [];
    this.#texts = [];
    this.#faults = [];
    this.#size = 0;
  }
}
