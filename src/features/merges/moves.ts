import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import { assignments } from '../assignments/record.ts';
import { consentChanges } from '../consents/record.ts';
import { followUps } from '../follow-ups/record.ts';
import { interactions } from '../interactions/record.ts';
import { orderItems, orders, refundItems, refunds } from '../orders/record.ts';
import { returnItems, returns } from '../returns/record.ts';
import { redemptions } from '../rewards/record.ts';
import { surveyInvitations } from '../survey-invitations/record.ts';
import { customerMergeRecords } from './record.ts';

/*
 * The key of a fact begins with its customer: facts do not change their customer, they are written under another one and
 * deleted under the first, in one statement per kind whatever their number. Foreign keys are checked at its end.
 */

/** Records with an id, and what belongs to them. */
interface Family {
  /** Name of the holding. */
  kind: string;
  table: PgTable;
  parts: Part[];
  /** Columns that are not simply taken over, as expressions on the row `gone`. */
  changed?: Record<string, SQL>;
  /** Of what was recorded since the merge: what goes back with the records of the other, on its table. */
  follows?: SQL;
}

interface Part {
  table: PgTable;
  /** Column that names the record. */
  of: string;
  /** `of` names a record of this part, not of the family. */
  within?: Part;
}

/** The records of a kind that the merge has moved. */
export function movedOf(kind: string): SQL {
  return sql`(select r.record_id from ${customerMergeRecords} r where r.merge_id = ${param('mergeId')}::uuid and r.kind = ${sql.raw(`'${kind}'`)})`;
}

const refundsOfOrders: Part = { table: refunds, of: 'order_id' };

const families: Family[] = [
  {
    kind: 'orders',
    table: orders,
    parts: [
      { table: orderItems, of: 'order_id' },
      refundsOfOrders,
      { table: refundItems, of: 'refund_id', within: refundsOfOrders },
    ],
  },
  { kind: 'returns', table: returns, parts: [{ table: returnItems, of: 'return_id' }] },
  { kind: 'interactions', table: interactions, parts: [] },
  {
    kind: 'followUps',
    table: followUps,
    parts: [],
    // A response that went from one to the other may have one with each.
    changed: {
      response_id: sql`case when not exists (select from follow_ups f where f.customer_id = ${param('to')}::uuid and f.response_id = gone.response_id) then gone.response_id end`,
    },
    follows: sql`response_id in ${movedOf('surveyResponses')}`,
  },
  {
    kind: 'assignments',
    table: assignments,
    parts: [],
    follows: sql`follow_up_id in ${movedOf('followUps')}`,
  },
  { kind: 'consentChanges', table: consentChanges, parts: [] },
  {
    kind: 'surveyInvitations',
    table: surveyInvitations,
    parts: [],
    changed: {
      occasion: sql`case when not exists (select from survey_invitations i where i.customer_id = ${param('to')}::uuid
        and i.survey_id = gone.survey_id and i.occasion = gone.occasion) then gone.occasion end`,
    },
  },
  { kind: 'redemptions', table: redemptions, parts: [] },
];

/** `insert into T … select` of the rows of a CTE `gone`, under the customer `to`. */
export function insertUnder(table: PgTable, gone: string, changed: Record<string, SQL> = {}): SQL {
  const columns = Object.values(getTableColumns(table)).filter((column) => column.generated === undefined);
  const values = columns.map(({ name }) =>
    name === 'customer_id' ? sql`${param('to')}::uuid` : (changed[name] ?? sql`gone.${sql.identifier(name)}`),
  );
  return sql`insert into ${table} (${sql.join(
    columns.map(({ name }) => sql.identifier(name)),
    sql`, `,
  )}) select ${sql.join(values, sql`, `)} from ${sql.identifier(gone)} as gone`;
}

const ofFrom = sql`customer_id = ${param('from')}::uuid`;

function moving({ kind, table, parts, changed = {}, follows }: Family, back: boolean): Statement<{ moved: number }> {
  const scope = back ? sql`${ofFrom} and (id in ${movedOf(kind)} ${follows ? sql`or ${follows}` : sql``})` : ofFrom;
  const partScope = ({ of, within }: Part): SQL => {
    if (!back) return ofFrom;
    const name = sql.identifier(of);
    if (!within) return sql`${ofFrom} and ${name} in ${movedOf(kind)}`;
    return sql`${ofFrom} and ${name} in (select id from ${within.table} where ${partScope(within)})`;
  };
  const ctes = [
    sql`gone as (delete from ${table} where ${scope} returning *)`,
    sql`put as (${insertUnder(table, 'gone', changed)})`,
    ...parts.flatMap((part, index) => [
      sql`${sql.identifier(`gone_${index}`)} as (delete from ${part.table} where ${partScope(part)} returning *)`,
      sql`${sql.identifier(`put_${index}`)} as (${insertUnder(part.table, `gone_${index}`)})`,
    ]),
    ...(back
      ? []
      : [
          sql`noted as (insert into ${customerMergeRecords} (merge_id, kind, record_id)
            select ${param('mergeId')}::uuid, ${sql.raw(`'${kind}'`)}, id from gone)`,
        ]),
  ];
  return statement(
    `${back ? 'unmerge' : 'merge'}_${kind}`,
    sql`with ${sql.join(ctes, sql`, `)} select count(*) as moved from gone`,
  );
}

const there = families.map((family) => ({ kind: family.kind, query: moving(family, false) }));
const back = families.map((family) => ({ kind: family.kind, query: moving(family, true) }));

// Keyed by id alone, as it may have no customer.
const responses = (scope: SQL, noted: SQL) => sql`with moved as (
    update survey_responses set customer_id = ${param('to')}::uuid where ${ofFrom} ${scope} returning id
  ), answers as (
    update survey_answers a set customer_id = ${param('to')}::uuid from moved where a.response_id = moved.id
  ) ${noted}
  select count(*) as moved from moved`;

const responsesThere = statement<{ moved: number }>(
  'merge_responses',
  responses(
    sql``,
    sql`, noted as (insert into ${customerMergeRecords} (merge_id, kind, record_id) select ${param('mergeId')}::uuid, 'surveyResponses', id from moved)`,
  ),
);
const responsesBack = statement<{ moved: number }>(
  'unmerge_responses',
  responses(sql`and id in ${movedOf('surveyResponses')}`, sql``),
);

/** Where names lead: to the record, and to whose it is. */
const names = statement(
  'merge_fact_names',
  sql`update external_refs x set customer_id = ${param('to')}::uuid from ${customerMergeRecords} r
    where r.merge_id = ${param('mergeId')}::uuid and r.kind in ('orders', 'returns', 'interactions')
      and x.record_id = r.record_id and x.customer_id = ${param('from')}::uuid`,
);

export interface Move {
  mergeId: string;
  from: string;
  to: string;
}

export interface Moved {
  kind: string;
  count: number;
}

/**
 * Puts the facts of a customer under another one and notes which they were (`back`: those that were noted, with what
 * belongs to them). Both are locked. Accounts of points are there before it: redemptions belong to them.
 */
export async function moveFacts(tx: Transaction, move: Move, direction: 'there' | 'back'): Promise<Moved[]> {
  const values = { ...move };
  const [answered] = await tx.all(direction === 'there' ? responsesThere : responsesBack, values);
  const moved = await Promise.all(
    (direction === 'there' ? there : back).map(async ({ kind, query }) => ({
      kind,
      count: (await tx.first(query, values))?.moved ?? 0,
    })),
  );
  tx.defer(names, values);
  return [...moved, { kind: 'surveyResponses', count: answered?.moved ?? 0 }];
}
