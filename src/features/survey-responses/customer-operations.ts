import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, type Statement, statement } from '../../platform/db/client.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { listCustomerSurveyResponses, responseList } from './operations.ts';
import { responseColumns } from './queries.ts';
import { type SurveyResponse, surveyResponse, surveyResponses } from './record.ts';

type FirstResponse = SurveyResponse & { all: number };

/** The first responses of each customer in one pass by row_number(): the distributed engine refuses a lateral top-N. */
function ofCustomers(direction: 'asc' | 'desc', count: boolean): Statement<FirstResponse> {
  const order = sql`${surveyResponses.answeredAt} ${sql.raw(direction)}, ${surveyResponses.id} ${sql.raw(direction)}`;
  const byCustomer = sql`partition by ${surveyResponses.customerId}`;
  return statement(
    'survey_responses_of_customers',
    sql`select ${responseColumns}, ranked."all"
      from (select ${surveyResponses.id}, row_number() over (${byCustomer} order by ${order}) as place,
          ${count ? sql`count(*) over (${byCustomer})` : sql`0`} as "all"
        from ${surveyResponses} where ${surveyResponses.customerId} = any(${param('customerIds')}::uuid[])) ranked
      join ${surveyResponses} on ${surveyResponses.id} = ranked.id
      where ranked.place <= ${param('limit')}::int order by ranked.place`,
  );
}

const statements = {
  latest: { counted: ofCustomers('desc', true), plain: ofCustomers('desc', false) },
  oldest: { counted: ofCustomers('asc', true), plain: ofCustomers('asc', false) },
};

/** For GraphQL: the first page of the responses of each of a set of customers, as `listCustomerSurveyResponses` answers it for one. */
export const surveyResponsesOfCustomers = readOperation({
  name: 'surveyResponsesOfCustomers',
  scope: listCustomerSurveyResponses.scope,
  partners: true,
  selfService: true,
  summary: 'List the first responses of customers',
  input: z.strictObject({
    limit: pageParameters.limit,
    count: pageParameters.count,
    cursors: pageParameters.cursors,
    sort: sortParameter(['answeredAt'], '-answeredAt'),
    members: z
      .array(z.string())
      .meta({ description: 'The members that are selected. Responses are always returned as a whole.' }),
    customerIds: z.array(id),
  }),
  output: z.array(pageOf(surveyResponse)),
  async run(context, { customerIds, sort, limit = defaultLimit, count = false, cursors }) {
    const shapes = sort === 'answeredAt' ? statements.oldest : statements.latest;
    const rows = await context.db.all(count ? shapes.counted : shapes.plain, { customerIds, limit: limit + 1 });
    const byCustomer = new Map<string, FirstResponse[]>(customerIds.map((customerId) => [customerId, []]));
    for (const row of rows) byCustomer.get(row.customerId ?? '')?.push(row);
    return customerIds.map((customerId) => {
      const own = byCustomer.get(customerId) ?? [];
      const total = count ? (own[0]?.all ?? 0) : undefined;
      const answers = own.map(({ all: _, ...response }) => response);
      return pageFrom(answers, {
        limit,
        total,
        ...(cursors && { cursors, cursor: responseList.cursorFor(context, sort, { customerId }) }),
      });
    });
  },
});
