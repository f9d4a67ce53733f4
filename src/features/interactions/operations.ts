import { type SQL, sql } from 'drizzle-orm';
import { id, text } from '../../platform/values.ts';
import { operationsOf } from '../../records/operations.ts';
import { direction, interactionKind, interactionRecord, searchedWords, terms } from './record.ts';
import './write.ts';

/** PostgreSQL's parser gives up on 32 negations that stand open, whatever is between them. */
const searchText = text(200).refine((value) => value.split('-').length <= 21, {
  error: 'has more than 20 minus signs',
  params: { code: 'too_many_minus_signs' },
});

const term = (prefix: string) => ({
  condition: (value: SQL) => sql`${terms} @> array[${sql.raw(`'${prefix}:'`)} || ${value}::text]`,
  uneven: true,
});

export const interactionOperations = operationsOf(interactionRecord, {
  filters: {
    kind: { input: interactionKind.optional(), ...term('kind') },
    direction: { input: direction.optional(), ...term('direction') },
    channel: {
      input: text(100).optional().meta({ description: 'Channel, as your systems call it.', example: 'hotline' }),
      ...term('channel'),
    },
    topic: {
      input: text(200).optional().meta({ description: 'The exact topic. Needs `customers:pii`.', example: 'delivery' }),
      ...term('topic'),
      personal: true,
    },
    outcome: {
      input: text(200).optional().meta({ description: 'The exact outcome. Needs `customers:pii`.', example: 'solved' }),
      ...term('outcome'),
      personal: true,
    },
    orderId: { input: id.optional(), ...term('order') },
    ticket: {
      input: text(100)
        .optional()
        .meta({ description: 'The ticket it is about. Needs `customers:pii`.', example: 'T-1042' }),
      ...term('ticket'),
      personal: true,
    },
    q: {
      input: searchText.optional().meta({
        description:
          'Words in the topic or text, in any order; `"…"` for a phrase, `or` between alternatives, `-` before a word to exclude. Case does not matter, accents do. Needs `customers:pii`.',
        example: 'delivery "too late" -refund',
      }),
      condition: (value) => sql`${searchedWords} @@ websearch_to_tsquery('simple', ${value})`,
      uneven: true,
      personal: true,
      selects: ['Interaction.topic', 'Interaction.text'],
    },
  },
  texts: {
    create: {
      summary: 'Push an interaction',
      description:
        'Finds or creates the customer as for orders. With `source` and `externalId`, an existing reference is refused with `already_exists` and the id of its record; use PUT (GraphQL: upsert) to change that record. Without `externalId`, each call creates a new interaction: send an idempotency key so that you can retry.',
    },
    list: { summary: 'List and search interactions' },
    upsert: {
      description:
        'Omitted members are cleared. An equal or older `sourceVersion` changes nothing and returns `applied: false`. If you send another customer, the interaction moves there.',
    },
    batch: {
      description:
        'Each item is an upsert by reference, in index order. The status is always 200, with a result per item. Items without `externalId` create new interactions each time: send an idempotency key so that you can retry the batch.',
    },
  },
});
