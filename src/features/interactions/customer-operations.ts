import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, type Statement, statement } from '../../platform/db/client.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { type AnswerRow, answerColumns, readAnswer } from '../../records/statements.ts';
import { interactionOperations } from './operations.ts';
import { interactionRecord, interactions } from './record.ts';

type FirstInteraction = AnswerRow & { customerId: string; all?: number };

/**
 * The first interactions of each customer in one pass by row_number(): the distributed engine refuses a lateral top-N.
 * Ranked in the index alone, for a customer may have thousands; then those of the page are read.
 */
function ofCustomers(direction: 'asc' | 'desc', count: boolean): Statement<FirstInteraction> {
  const order = sql`${interactions.occurredAt} ${sql.raw(direction)}, ${interactions.id} ${sql.raw(direction)}`;
  const byCustomer = sql`partition by ${interactions.customerId}`;
  return statement(
    'interactions_of_customers',
    sql`select ${answerColumns(interactionRecord)}, ranked."all"
      from (select ${interactions.customerId}, ${interactions.id}, row_number() over (${byCustomer} order by ${order}) as place,
          ${count ? sql`count(*) over (${byCustomer})` : sql`0`} as "all"
        from ${interactions} where ${interactions.customerId} = any(${param('customerIds')}::uuid[])) ranked
      join ${interactions} on ${interactions.customerId} = ranked.customer_id and ${interactions.id} = ranked.id
      where ranked.place <= ${param('limit')}::int order by ranked.place`,
  );
}

const statements = {
  latest: { counted: ofCustomers('desc', true), plain: ofCustomers('desc', false) },
  oldest: { counted: ofCustomers('asc', true), plain: ofCustomers('asc', false) },
};

/** For GraphQL: the first page of the interactions of each of a set of customers, as `listCustomerInteractions` answers it for one. */
export const interactionsOfCustomers = readOperation({
  name: 'interactionsOfCustomers',
  scope: interactionOperations.list.scope,
  partners: true,
  selfService: false,
  summary: 'List the first interactions of customers',
  input: z.strictObject({
    limit: pageParameters.limit,
    count: pageParameters.count,
    cursors: pageParameters.cursors,
    sort: sortParameter(['occurredAt'], '-occurredAt'),
    members: z
      .array(z.string())
      .meta({ description: 'The members that are selected. Interactions are always returned as a whole.' }),
    customerIds: z.array(id),
  }),
  output: z.array(pageOf(interactionRecord.output)),
  async run(context, { customerIds, sort, limit = defaultLimit, count = false, cursors }) {
    const shapes = sort === 'occurredAt' ? statements.oldest : statements.latest;
    const rows = await context.db.all(count ? shapes.counted : shapes.plain, { customerIds, limit: limit + 1 });
    const byCustomer = new Map<string, FirstInteraction[]>(customerIds.map((customerId) => [customerId, []]));
    for (const row of rows) byCustomer.get(row.customerId)?.push(row);
    return customerIds.map((customerId) => {
      const own = byCustomer.get(customerId) ?? [];
      const total = count ? (own[0]?.all ?? 0) : undefined;
      const answers = own.map(({ all: _, ...row }) =>
        readAnswer<z.output<typeof interactionRecord.output>>(interactionRecord, row),
      );
      return pageFrom(answers, {
        limit,
        total,
        ...(cursors && { cursors, cursor: interactionOperations.pages().cursorFor(context, sort, { customerId }) }),
      });
    });
  },
});
