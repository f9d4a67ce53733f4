import type { z } from 'zod';
import type { Problem } from './errors.ts';
import { inputProblem, reportFirst, reportInput } from './faults.ts';
import { withoutNulls } from './not-given.ts';
import { inSlices } from './slices.ts';

/** What a batch's body holds: items under one member. */
interface Batch {
  plural: string;
  /** What the documents say of an item. */
  item: z.ZodType;
  /** What an item is checked by. */
  schema: z.ZodType;
}

const batches = new WeakMap<z.core.$ZodType, Batch>();

export function declareBatch(body: z.ZodType, batch: Batch): void {
  batches.set(body, batch);
}

/** What a body is a batch of; undefined for other bodies. */
export function batchOf(body: z.core.$ZodType | undefined): Readonly<Batch> | undefined {
  return body && batches.get(body);
}

/** What the documents say of the items of a batch's body; undefined for other bodies. */
export function batchItem(body: z.core.$ZodType): z.ZodType | undefined {
  return batches.get(body)?.item;
}

/** The items of a batch: those that are valid, and in the places of the others what is wrong with them. */
export interface CheckedItems<Item> {
  good: { index: number; item: Item }[];
  refused: ReadonlyMap<number, Problem>;
}

const checked = new WeakMap<object, Map<z.ZodType, Promise<CheckedItems<unknown>>>>();

/** Checks the items of a batch before anything is locked for them; nothing for other inputs. */
export async function checkBatch(body: z.core.$ZodType | undefined, given: unknown): Promise<void> {
  const batch = body && batches.get(body);
  if (!batch) return;
  const items = (given as Record<string, unknown[]>)[batch.plural]; // parsed by the body's schema
  if (items) await checkedItems(items, batch.schema);
}

/** Checked once, however often the transaction is run. */
export function checkedItems<S extends z.ZodType>(
  items: readonly unknown[],
  schema: S,
): Promise<CheckedItems<z.output<S>>> {
  const known = checked.get(items) ?? new Map<z.ZodType, Promise<CheckedItems<unknown>>>();
  checked.set(items, known);
  const before = known.get(schema) as Promise<CheckedItems<z.output<S>>> | undefined; // by this schema
  if (before) return before;
  const made = checkItems(items, schema);
  known.set(schema, made);
  return made;
}

/** As many as a batch has items at most: what one fault each item has is told. */
const mostOfBatch = 1_000;

/**
 * Once that many faults are told, only the first of each further item is looked for, so that a batch of nothing but faults
 * costs no more than a valid one.
 */
async function checkItems<S extends z.ZodType>(items: readonly unknown[], schema: S) {
  const good: CheckedItems<z.output<S>>['good'] = [];
  const refused = new Map<number, Problem>();
  let told = 0;
  const pause = inSlices();
  for (const [index, given] of items.entries()) {
    await pause();
    const item = withoutNulls(schema, given);
    const onlyFirst = told >= mostOfBatch;
    const parsed = schema.safeParse(item, onlyFirst ? reportFirst : reportInput);
    if (parsed.success) {
      good.push({ index, item: parsed.data });
      continue;
    }
    const problem = inputProblem(parsed.error, { within: ['body'], onlyFirst });
    told += problem.errors.length;
    refused.set(index, problem);
  }
  return { good, refused };
}
