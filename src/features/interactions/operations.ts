import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../../platform/versions.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { refreshBounds } from '../lead-scores/bounds.ts';
import { referenceInput, targetParameters } from '../references/model.ts';
import { targetId } from '../references/queries.ts';
import {
  direction,
  interaction,
  interactionDocument,
  interactionInput,
  interactionKind,
  interactionPatch,
  interactions,
  terms,
  words,
} from './model.ts';
import {
  deleteInteractionRow,
  fromState,
  type InteractionRecord,
  interactionById,
  interactionByReference,
  interactionColumns,
  interactionOrigin,
  toInteraction,
} from './queries.ts';
import { asOutcome, asWrite, type InteractionWrite, writeInteractions } from './write.ts';

export const writtenInteraction = interaction
  .extend({
    ...written,
    warnings: z.array(warning),
  })
  .meta({ id: 'WrittenInteraction' });

export const createInteraction = writeOperation({
  name: 'createInteraction',
  scope: 'interactions:write',
  partners: true,
  selfService: false,
  summary: 'Push an interaction',
  description:
    'Finds or creates the customer as for orders. With `source` and `externalId`, a known reference is refused with `already_exists` and its id; send it with PUT (GraphQL: upsert) to change it. Without `externalId` it is a new interaction each time: send an idempotency key when you may have to repeat it.',
  input: z.strictObject({ ...writeParameters, body: interactionInput }),
  output: writtenInteraction,
  idempotency: 'accepted',
  created: () => true,
  problems: ['already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { body }) => writeOne(tx, context, asWrite(body, 'create')),
});

export const getInteraction = readOperation({
  name: 'getInteraction',
  scope: 'interactions:read',
  partners: true,
  selfService: false,
  summary: 'Read an interaction',
  input: z.strictObject(targetParameters),
  output: interaction,
  problems: ['not_found'],
  async run({ db }, { id: interactionId, source, externalId }) {
    const found =
      interactionId === undefined && source !== undefined && externalId !== undefined
        ? await interactionByReference(db, { source, externalId })
        : await interactionById(db, await targetId(db, 'interaction', { id: interactionId, source, externalId }));
    if (!found) throw notFound('interaction');
    return toInteraction(found);
  },
});

const term = (prefix: string) => (value: SQL) => sql`${terms} @> array[${sql.raw(`'${prefix}:'`)} || ${value}::text]`;

export const interactionList = keysetList<InteractionRecord>({
  name: 'interactions',
  select: interactionColumns,
  from: sql`${interactions}`,
  id: sql`${interactions.id}`,
  owner: sql`${interactions.customerId}`,
  filters: {
    customerId: (value) => sql`${interactions.customerId} = ${value}::uuid`,
    kind: term('kind'),
    direction: term('direction'),
    channel: term('channel'),
    topic: term('topic'),
    outcome: term('outcome'),
    staff: (value) => sql`${interactions.staff} = ${value}`,
    campaignId: (value) => sql`${interactions.campaignId} = ${value}::uuid`,
    orderId: term('order'),
    ticket: term('ticket'),
    occurredFrom: (value) => sql`${interactions.occurredAt} >= ${value}::timestamptz`,
    occurredTo: (value) => sql`${interactions.occurredAt} < ${value}::timestamptz`,
    q: (value) => sql`${words} @@ websearch_to_tsquery('simple', ${value})`,
  },
  uneven: ['kind', 'direction', 'channel', 'topic', 'outcome', 'orderId', 'ticket', 'q'],
  sorts: { occurredAt: { expression: sql`${interactions.occurredAt}`, type: 'timestamptz', field: 'occurredAt' } },
  defaultSort: '-occurredAt',
});

/** PostgreSQL's parser gives up on 32 negations that stand open, whatever is between them. */
const searchText = text(200).refine((value) => value.split('-').length <= 21, {
  error: 'has more than 20 minus signs',
  params: { code: 'too_many_minus_signs' },
});

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['occurredAt'], '-occurredAt'),
  kind: interactionKind.optional(),
  direction: direction.optional(),
  channel: text(100).optional().meta({ description: 'Channel, as your systems call it.', example: 'hotline' }),
  topic: text(200).optional().meta({ description: 'What it was about, word for word.', example: 'delivery' }),
  outcome: text(200).optional().meta({ description: 'What came of it, word for word.', example: 'solved' }),
  staff: text(200).optional().meta({ description: 'The member of staff.', example: 'maria' }),
  campaignId: id.optional(),
  orderId: id.optional(),
  ticket: text(100).optional().meta({ description: 'The ticket it is about.', example: 'T-1042' }),
  occurredFrom: instant.optional(),
  occurredTo: instant.optional(),
  q: searchText.optional().meta({
    description:
      'Words that topic or text hold, in any order; `"…"` for a phrase, `or` between words, `-` before one that is not to be there. Whatever the case, with accents as they are. Needs `customers:pii`.',
    example: 'delivery "too late" -refund',
  }),
};

const interactionPage = pageOf(interaction).meta({ id: 'InteractionPage' });

export const listInteractions = readOperation({
  name: 'listInteractions',
  scope: 'interactions:read',
  partners: true,
  selfService: false,
  summary: 'List and search interactions',
  input: z.strictObject({ ...listFilters, customerId: id.optional() }),
  output: interactionPage,
  personalParameters: ['q'],
  selects: { q: 'Interaction.text' },
  async run(context, input) {
    const { data, page } = await interactionList(context.db, context, input);
    return { data: data.map(toInteraction), page };
  },
});

export const listCustomerInteractions = readOperation({
  name: 'listCustomerInteractions',
  scope: 'interactions:read',
  partners: true,
  selfService: false,
  summary: "List a customer's interactions",
  input: z.strictObject({ ...targetParameters, ...listFilters }),
  output: interactionPage,
  personalParameters: ['q'],
  selects: { q: 'Interaction.text' },
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...filter }) {
    const owner = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const { data, page } = await interactionList(context.db, context, { ...filter, customerId: owner });
    // An empty page says the customer has no interactions, so there has to be such a customer.
    if (data.length === 0 && !(await customerById(context.db, owner))) throw notFound('customer');
    return { data: data.map(toInteraction), page };
  },
});

export const updateInteraction = writeOperation({
  name: 'updateInteraction',
  scope: 'interactions:write',
  partners: true,
  selfService: false,
  summary: 'Change an interaction',
  description: 'Members left out stay, null clears; naming another customer moves the interaction.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: interactionPatch }),
  output: writtenInteraction,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { body, expectedVersion: expected, id: interactionId, source, externalId }) {
    const recordId = await targetId(tx, 'interaction', { id: interactionId, source, externalId });
    return writeOne(tx, context, { mode: 'patch', id: recordId, input: body, expectedVersion: expected });
  },
});

export const upsertInteraction = writeOperation({
  name: 'upsertInteraction',
  scope: 'interactions:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace an interaction by reference',
  description:
    'Members left out are cleared. An equal or older `sourceVersion` changes nothing and answers `applied: false`. Another customer moves the interaction.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: interactionDocument,
  }),
  output: writtenInteraction,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { source, externalId, body, expectedVersion: expected }) =>
    writeOne(tx, context, { mode: 'upsert', source, externalId, input: body, expectedVersion: expected }),
});

export const deleteInteraction = writeOperation({
  name: 'deleteInteraction',
  scope: 'interactions:write',
  partners: false,
  selfService: false,
  summary: 'Delete an interaction',
  description: 'The references stay behind as tombstones, so that a late message does not bring it back.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { expectedVersion: expected, id: interactionId, source, externalId }) {
    const recordId = await targetId(tx, 'interaction', { id: interactionId, source, externalId });
    const origin = await interactionOrigin(tx, recordId);
    if (origin === null) throw notFound('interaction');
    await lockCustomers(tx, [origin.customerId]);
    const found = await interactionById(tx, recordId);
    if (found?.customerId !== origin.customerId) throw new Retry('an interaction moved or vanished');
    checkVersion(found.version, expected);
    await deleteInteractionRow(tx, found, context.now);
    await refreshBounds(tx, context, [found.customerId]);
    return { id: recordId, deleted: true as const };
  },
});

export const batchInteractions = writeOperation({
  name: 'batchInteractions',
  scope: 'interactions:write',
  partners: false,
  selfService: false,
  summary: 'Push up to 1,000 interactions',
  description:
    'Each item is an upsert by reference, in index order; always 200, with a result per item. Items without `externalId` are new interactions each time: send an idempotency key when you may have to repeat the batch.',
  input: batchInput('interactions', interactionInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, interactionInput, { plural: 'interactions', atomic }, async (items) => {
      const writes = items.map((item) => asWrite(item, 'upsert'));
      return (await writeInteractions(tx, context, writes)).map(asOutcome);
    }),
});

async function writeOne(
  tx: Transaction,
  context: Context,
  write: InteractionWrite,
): Promise<z.output<typeof writtenInteraction>> {
  const [result] = await writeInteractions(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('interaction');
  const { state, created, applied, warnings } = result;
  return { ...fromState(state), created, applied, warnings };
}
