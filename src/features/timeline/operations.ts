import { z } from 'zod';
import { notFound } from '../../platform/errors.ts';
import { type Context, readOperation, requireScope } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { customerById } from '../customers/queries.ts';
import { countEntries, entriesOf, firstEntriesOf, type Span } from './queries.ts';
import { type EntryRow, sources, timelineEntry, timelineKind, withGlance } from './sources.ts';

const parameters = {
  ...pageParameters,
  sort: sortParameter(['at'], '-at'),
  kinds: z
    .array(timelineKind)
    .min(1)
    .max(20)
    .optional()
    .meta({ description: 'Only these kinds. Default: all that the token may see.', example: ['order', 'refund'] }),
  from: instant.optional().meta({ description: 'Only what happened at this instant or later.' }),
  to: instant.optional().meta({ description: 'Only what happened before this instant.' }),
};
type Asked = Omit<z.output<z.ZodObject<typeof parameters>>, 'after'>;

const page = pageOf(timelineEntry).meta({ id: 'TimelinePage' });

export const getCustomerTimeline = readOperation({
  name: 'getCustomerTimeline',
  scope: 'customers:read',
  partners: true,
  selfService: false,
  summary: "A customer's timeline",
  description: `Everything that happened with the customer in one list, newest first. A kind is only returned to a token with its scope (${sources
    .map(({ kind, scope }) => `${kind}: \`${scope}\``)
    .join(', ')}); asking for one without it is refused.`,
  input: z.strictObject({ ...targetParameters, ...parameters }),
  output: page,
  about: async ({ db }, { id: customerId, source, externalId }) => [
    await targetId(db, 'customer', { id: customerId, source, externalId }),
  ],
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, after, ...asked }) {
    const { db, cursors } = context;
    const span = spanOf(context, asked);
    const owner = await targetId(db, 'customer', { id: customerId, source, externalId });
    const { limit = defaultLimit } = asked;
    const place = after === undefined ? null : cursors.decode(after, cursorScope(context, owner, asked));
    const [rows, totals] = await Promise.all([
      entriesOf(db, owner, span, { after: place && [String(place[0]), place[1]], limit: limit + 1 }),
      asked.count ? countEntries(db, [owner], span) : null,
    ]);
    // An empty page says that nothing happened with the customer, so there has to be such a customer.
    if (rows.length === 0 && !(await customerById(db, owner))) throw notFound('customer');
    return entriesPage(context, owner, asked, rows, totals && (totals.get(owner) ?? 0));
  },
});

/** For GraphQL: the first page of the timeline of each of a set of customers, as many statements as for one. */
export const timelinesOfCustomers = readOperation({
  name: 'timelinesOfCustomers',
  scope: 'customers:read',
  partners: true,
  selfService: false,
  summary: 'The first entries of the timelines of customers',
  input: z.strictObject({
    ...parameters,
    customerIds: z.array(id),
    members: z
      .array(z.string())
      .meta({ description: 'The members that are selected. Entries are always returned as a whole.' }),
  }),
  output: z.array(page),
  about: (_context, { customerIds }) => customerIds,
  async run(context, { customerIds, members: _, after: __, ...asked }) {
    const span = spanOf(context, asked);
    const { limit = defaultLimit } = asked;
    const [first, totals] = await Promise.all([
      firstEntriesOf(context.db, customerIds, span, limit + 1),
      asked.count ? countEntries(context.db, customerIds, span) : null,
    ]);
    return customerIds.map((customerId) =>
      entriesPage(context, customerId, asked, first.get(customerId) ?? [], totals && (totals.get(customerId) ?? 0)),
    );
  },
});

/** @throws Problem insufficient_scope, when a kind is asked for that the token may not see */
function spanOf(context: Context, { kinds, from, to, sort = '-at' }: Asked): Span {
  for (const { kind, scope } of sources) if (kinds?.includes(kind)) requireScope(context, scope);
  const seen = kinds ?? sources.flatMap(({ kind, scope }) => (context.principal.has(scope) ? [kind] : []));
  return { kinds: seen, from, to, descending: sort === '-at' };
}

function cursorScope(context: Context, customerId: string, { kinds, from, to, sort = '-at' }: Asked): string {
  return JSON.stringify([context.principal.key, 'timeline', sort, { customerId, kinds, from, to }]);
}

function entriesPage(
  context: Context,
  customerId: string,
  asked: Asked,
  rows: EntryRow[],
  total: number | null,
): z.output<typeof page> {
  const { limit = defaultLimit, cursors } = asked;
  const scope = cursorScope(context, customerId, asked);
  const found = pageFrom(rows, {
    limit,
    cursor: ({ at, id: entryId }) => context.cursors.encode({ scope, key: [at, entryId] }),
    total: total ?? undefined,
    cursors,
  });
  return { data: found.data.map(withGlance), page: found.page };
}
