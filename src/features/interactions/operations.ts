import { sql } from 'drizzle-orm';
import { text } from '../../platform/values.ts';
import { operationsOf } from '../../records/operations.ts';
import { interactionRecord, searchedWords } from './record.ts';
import './write.ts';

/** PostgreSQL's parser gives up on 32 negations that stand open, whatever is between them. */
const searchText = text(200).refine((value) => value.split('-').length <= 21, {
  error: 'has more than 20 minus signs',
  params: { code: 'too_many_minus_signs' },
});

export const interactionOperations = operationsOf(interactionRecord, {
  filters: {
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
