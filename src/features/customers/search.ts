import { type SQL, sql } from 'drizzle-orm';
import { auditEntry } from '../../platform/audit.ts';
import { Problem } from '../../platform/errors.ts';
import { type Context, requireScope } from '../../platform/operation.ts';
import {
  conditionInput,
  conditionOf,
  personalIn,
  readQuestion,
  requireReadable,
} from '../../records/condition-query.ts';
import type { ListSort } from '../../records/operations.ts';
import { purchasesAreFilled } from '../rollups/fill.ts';
import { figures } from '../rollups/record.ts';
import { customers } from './record.ts';

/* Searching customers: by a tree of conditions, and in the order of their statistics. */

const row = sql.raw('p');
const join = sql`left join customer_purchases p on p.customer_id = ${customers.id}`;
const ofPurchases = (figure: SQL, type: string, whenNull: string, field: string): ListSort => ({
  expression: figure,
  type,
  whenNull,
  field,
  select: sql`${figure} as ${sql.identifier(field)}`,
  join,
});

export const statisticsSorts: Record<string, ListSort> = {
  orderCount: ofPurchases(figures.orderCount(row), 'bigint', '0', 'orderCountKey'),
  revenue: ofPurchases(figures.revenue(row), 'bigint', '0', 'revenueKey'),
  lastOrderOn: ofPurchases(figures.lastDay(row), 'date', '-infinity', 'lastOrderOnKey'),
};

export const customerSearch = {
  parameters: { filter: conditionInput.optional() },
  personal: [],
  condition: searchCondition,
};

async function searchCondition(context: Context, input: Record<string, unknown>): Promise<SQL | null> {
  await checkSort(context, input['sort']);
  const { filter } = input;
  if (filter === undefined) return null;
  const question = await readQuestion(context.db, filter, '').catch(atFilter);
  try {
    requireReadable(context, question);
  } catch (error) {
    atFilter(error);
  }
  // What was searched by, never for.
  note(context, [...personalIn(question).keys()]);
  return conditionOf(context.db, question, {
    row: sql`${customers}`,
    asOf: context.now,
    now: context.now,
    reportingTimeZone: context.reportingTimeZone,
  });
}

function atFilter(error: unknown): never {
  throw error instanceof Problem ? error.withErrors((one) => ({ parameter: 'filter', ...one })) : error;
}

const searched = { name: 'listCustomers', scope: 'customers:read' };

/** A search tells something, even where it finds nobody. */
function note(context: Context, members: readonly string[]): void {
  context.audit.admit();
  context.audit.seen(auditEntry(context, searched, { kind: 'read', members: ['filter', ...members] }));
}

/** The order tells who bought how much. */
async function checkSort(context: Context, sort: unknown): Promise<void> {
  if (typeof sort !== 'string' || !(sort.replace(/^-/, '') in statisticsSorts)) return;
  requireScope(context, 'orders:read');
  if (context.principal.scopedTo !== null) {
    throw new Problem(
      'not_supported',
      'Orders by statistics are not available to tokens of a partner or of one customer.',
    );
  }
  if (!(await purchasesAreFilled(context.db))) {
    throw new Problem('unavailable', 'The statistics of customers are still being worked out. Try again later.', {
      headers: { 'Retry-After': '60' },
    });
  }
}
