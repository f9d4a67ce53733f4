import { z } from 'zod';
import { checkedItems, declareBatch } from './batch-items.ts';
import type { Transaction } from './db/client.ts';
import { mostErrors, Problem, problemCodes } from './errors.ts';
import { writeParameters } from './operation.ts';
import { typeNames } from './type-names.ts';
import { id, smallInteger } from './values.ts';

export const warning = z
  .strictObject({
    code: z.string().meta({ description: 'Stable, for programs.', example: 'customer_conflict' }),
    message: z.string(),
  })
  .meta({ id: 'Warning', description: 'A warning. The request was carried out.' });
export type Warning = z.output<typeof warning>;

/** A fault of the input, in problems and in the results of a batch. */
export const fieldError = z
  .strictObject({
    pointer: z
      .string()
      .optional()
      .meta({ description: 'JSON Pointer into the body; in the results of a batch, into the item.' }),
    parameter: z.string().optional().meta({ description: 'Name of the path, query or header parameter.' }),
    code: z.string(),
    message: z.string(),
  })
  .meta({ id: 'FieldError', description: 'One fault of the input: where it is and what is wrong.' });

/** The documents are made when every feature has declared its codes: hence a getter. */
export const problemCode = z.string().meta({
  get enum() {
    return problemCodes();
  },
});

export const moreErrors = z.boolean().meta({
  description: 'true: the search for faults ended before its end, so there may be more than `errors` tells.',
});

const batchError = z
  .strictObject({
    code: problemCode,
    detail: z.string(),
    errors: z.array(fieldError).optional().meta({
      description: 'At most 100; once a batch has 1,000, only the first of each further item.',
    }),
    moreErrors: moreErrors.optional(),
  })
  .meta({ id: 'BatchError' });

export const batchResults = z
  .strictObject({
    results: z.array(
      z
        .strictObject({
          index: smallInteger.meta({ description: 'Place of the item in the list sent, from 0.' }),
          status: z
            .enum(['created', 'updated', 'unchanged', 'refused'])
            .meta({ id: 'BatchStatus', description: 'unchanged: the item was not newer than what is stored.' }),
          id: id.optional().meta({
            description:
              'The id of the record; for a refused item, of the record that it conflicts with, if there is one.',
          }),
          error: batchError.optional().meta({ description: 'Why it was refused.' }),
          warnings: z.array(warning).optional(),
        })
        .meta({ id: 'BatchResult' }),
    ),
  })
  .meta({
    id: 'BatchResults',
    description:
      'The result of each item, in index order. An invalid item does not fail the others, unless the batch is `atomic`.',
  })
  .register(typeNames, { name: 'BatchPayload' });
export type BatchResults = z.output<typeof batchResults>;

/** The result of one item of a set. */
export type Outcome = { id: string; created: boolean; applied: boolean; warnings?: Warning[] } | Problem;

/**
 * The input of a batch operation: `{ [plural]: [ item, … ] }`. The items are checked one by one when the batch runs, so
 * that an invalid item does not fail the others; the documents still show the item's schema.
 *
 * @param item has an id for the documents
 * @param schema what items are checked by, where that is more than the documents say
 */
export function batchInput<P extends string>(plural: P, item: z.ZodType, schema = item) {
  const named = z.unknown().meta({ $ref: `#/components/schemas/${item.meta()?.id}` });
  const body = z.strictObject({ [plural]: z.array(named).min(1).max(1000) } as Record<P, z.ZodArray<z.ZodUnknown>>); // a computed key of literal type
  declareBatch(body, { plural, item, schema });
  return z.strictObject({
    ...writeParameters,
    atomic: z.boolean().optional().meta({ description: 'All or nothing: one refused item refuses them all.' }),
    body,
  });
}

/**
 * Runs a batch: passes the valid items of `body[plural]` to `write` in index order and reports each in its place. `write` returns an item's fault in its place; when the set as a whole fails, the items are written one by one.
 *
 * @param options.plural the member of the body that holds the items
 * @throws Problem batch_refused, when an `atomic` batch has an invalid item
 */
export async function runBatch<S extends z.ZodType, P extends string>(
  tx: Transaction,
  body: Record<P, unknown[]>,
  schema: S,
  options: { plural: P; atomic: boolean | undefined },
  write: (items: z.output<S>[]) => Promise<Outcome[]>,
): Promise<BatchResults> {
  const { good, refused } = await checkedItems(body[options.plural], schema);
  const outcomes: Outcome[] = [];
  for (const [index, problem] of refused) outcomes[index] = problem;
  const place = (at: number, outcome: Outcome | undefined) => {
    const index = good[at]?.index;
    if (index !== undefined && outcome) outcomes[index] = outcome;
  };
  if (good.length > 0) {
    const written = await tx.attempt(() => write(good.map(({ item }) => item)));
    if (written.ok) {
      for (const [at, outcome] of written.value.entries()) place(at, outcome);
    } else {
      for (const [at, { item }] of good.entries()) {
        const alone = await tx.attempt(() => write([item]));
        place(at, alone.ok ? alone.value[0] : alone.refusal);
      }
    }
  }
  for (const { index, item } of good) {
    const outcome = outcomes[index];
    if (outcome instanceof Problem || !outcome?.applied) continue;
    for (const member of Object.keys(item as object)) tx.auditContext.members.add(member); // items are objects of strict schemas
  }
  const results = outcomes.map(report);
  if (options.atomic && results.some(({ status }) => status === 'refused'))
    throw atomicRefusal(results, options.plural);
  return { results };
}

function report(outcome: Outcome, index: number): BatchResults['results'][number] {
  if (outcome instanceof Problem) {
    const { code, message: detail, faults } = outcome;
    const existing = outcome.extra['id'];
    return {
      index,
      status: 'refused',
      ...(typeof existing === 'string' && { id: existing }),
      error: { code, detail, ...faults },
    };
  }
  const { id: recordId, created, applied, warnings } = outcome;
  return {
    index,
    status: !applied ? 'unchanged' : created ? 'created' : 'updated',
    id: recordId,
    ...(warnings && warnings.length > 0 && { warnings }),
  };
}

function atomicRefusal(results: BatchResults['results'], plural: string): Problem {
  const refused = results.filter((result) => result.status === 'refused');
  return new Problem(
    'batch_refused',
    `${refused.length} of ${results.length} items were refused, so nothing was written.`,
    {
      moreErrors: refused.length > mostErrors || refused.some(({ error }) => error?.moreErrors),
      errors: refused.slice(0, mostErrors).flatMap(({ index, error }) =>
        (error?.errors ?? [{ code: error?.code ?? 'invalid_input', message: error?.detail ?? '' }]).map((e) => ({
          code: e.code,
          message: e.message,
          pointer: `/${plural}/${index}${('pointer' in e && e.pointer) || ''}`,
        })),
      ),
    },
  );
}
