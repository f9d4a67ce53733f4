import { sql } from 'drizzle-orm';
import {
  type Db,
  fields,
  insertRows,
  param,
  type Statement,
  statement,
  type Transaction,
} from '../../platform/db/client.ts';
import { updateRows } from '../../records/table.ts';
import { type Aged, kinds, type RetentionKind } from './kinds.ts';
import { firstIdsLimit, retentionRules, retentionRuns } from './record.ts';

export type RuleRow = typeof retentionRules.$inferSelect;
export type RunRow = typeof retentionRuns.$inferSelect;
type Position = NonNullable<RunRow['position']>;

const ruleColumns = fields(retentionRules);
const runColumns = fields(retentionRuns);

const ruleById = statement<RuleRow>(
  'retention_rule',
  sql`select ${ruleColumns} from ${retentionRules} where ${retentionRules.id} = ${param('id')}::uuid`,
);
const lockedRule = statement<RuleRow>(
  'lock_retention_rule',
  sql`select ${ruleColumns} from ${retentionRules} where ${retentionRules.id} = ${param('id')}::uuid for no key update`,
);
const newRule = statement('insert_retention_rule', insertRows(retentionRules, param('rows')));
const changedRule = statement(
  'update_retention_rule',
  updateRows(retentionRules, param('rows'), { except: ['lastRunAt'] }),
);
const goneRule = statement('delete_retention_rule', sql`delete from retention_rules where id = ${param('id')}::uuid`);

export function getRule(db: Db, id: string): Promise<RuleRow | null> {
  return db.first(ruleById, { id });
}

/** The rule as it is, locked. */
export function lockRule(tx: Transaction, id: string): Promise<RuleRow | null> {
  return tx.first(lockedRule, { id });
}

export async function insertRule(tx: Transaction, row: RuleRow): Promise<void> {
  await tx.all(newRule, { rows: JSON.stringify([row]) });
}

export async function updateRule(tx: Transaction, row: RuleRow): Promise<void> {
  await tx.all(changedRule, { rows: JSON.stringify([row]) });
}

/** Its runs stay. */
export async function deleteRule(tx: Transaction, id: string): Promise<void> {
  await tx.all(goneRule, { id });
}

const due = statement<RuleRow>(
  'rules_to_apply',
  sql`select ${ruleColumns} from ${retentionRules} where ${retentionRules.enabled} and not exists (
      select from retention_runs u where u.rule_id = ${retentionRules.id} and u.rule_version = ${retentionRules.version}
        and u.status in ('queued', 'running') and u.created_at > ${param('now')}::timestamptz - interval '7 days')
    order by ${retentionRules.id} for no key update`,
);

/** Enabled rules that are not being applied as they are now, locked. A job is given up after four days, and so is its run. */
export function rulesToApply(tx: Transaction, now: string): Promise<RuleRow[]> {
  return tx.all(due, { now });
}

const runById = statement<RunRow>(
  'retention_run',
  sql`select ${runColumns} from ${retentionRuns} where ${retentionRuns.id} = ${param('id')}::uuid`,
);
const lockedRun = statement<RunRow>(
  'lock_retention_run',
  sql`select ${runColumns} from ${retentionRuns} where ${retentionRuns.id} = ${param('id')}::uuid for no key update`,
);
const newRuns = statement('insert_retention_runs', insertRows(retentionRuns, param('rows')));
const progress = statement(
  'note_retention_progress',
  sql`with noted as (
      ${updateRows(retentionRuns, param('rows'))} returning o.rule_id, o.finished_at
    )
    update retention_rules r set last_run_at = noted.finished_at from noted
    where r.id = noted.rule_id and noted.finished_at is not null`,
);

export function getRun(db: Db, id: string): Promise<RunRow | null> {
  return db.first(runById, { id });
}

/** The run as it is, locked: one process works on it at a time. */
export function lockRun(tx: Transaction, id: string): Promise<RunRow | null> {
  return tx.first(lockedRun, { id });
}

export async function insertRuns(tx: Transaction, rows: RunRow[]): Promise<void> {
  if (rows.length > 0) await tx.all(newRuns, { rows: JSON.stringify(rows) });
}

/** Notes how far a run is, and with its end when the rule was last applied. */
export async function noteProgress(tx: Transaction, row: RunRow): Promise<void> {
  await tx.all(progress, { rows: JSON.stringify([row]) });
}

export interface Looked {
  at: string;
  id: string;
  customerId: string | null;
  due: boolean;
}

const before = sql`${param('before')}::timestamptz`;

const oldEnough = ({ at }: Aged) => (at === undefined ? sql`true` : sql`${at} < ${before}`);

/** Made per kind, at first use: by then everything is defined. */
function perKind<T>(make: (kind: RetentionKind, aged: Aged) => T): (kind: RetentionKind, aged: Aged) => T {
  const made = new Map<RetentionKind, T>();
  return (kind, aged) => {
    const known = made.get(kind) ?? make(kind, aged);
    made.set(kind, known);
    return known;
  };
}

const walkOf = perKind((kind, aged) => {
  const { from, id, customerId, at = sql`'epoch'::timestamptz`, due, step } = aged;
  const order = aged.at ? sql`${aged.at}, ${id}` : id;
  const edge = aged.at
    ? sql`(${aged.at}, ${id}) > (${param('at')}::timestamptz, ${param('id')}::uuid)`
    : sql`${id} > ${param('id')}::uuid`;
  return statement<Looked>(
    `walk_${kind}`,
    sql`select ${at} as at, ${id} as id, ${customerId} as "customerId", (${due()}) is true as due from ${from}
      where ${edge} and ${oldEnough(aged)} order by ${order} limit ${sql.raw(String(step))}`,
  );
});

const countOf = perKind((kind, aged) => {
  const { from, id, at = sql`'epoch'::timestamptz`, due } = aged;
  return statement<Matching>(
    `count_${kind}`,
    sql`with due as (select ${at} as at, ${id} as id from ${from} where ${oldEnough(aged)} and ${due()})
      select count(*) as matching, coalesce((select json_agg(id order by at, id) from (
        select at, id from due order by at, id limit ${sql.raw(String(firstIdsLimit))}) first), '[]') as "firstIds" from due`,
  );
});

const stillDue = perKind((kind, { from, id, due }) =>
  statement<{ id: string }>(
    `still_due_${kind}`,
    sql`select ${id} as id from ${from} where ${id} = any(${param('ids')}::uuid[]) and ${due()}`,
  ),
);

export interface Matching {
  matching: number;
  firstIds: string[];
}

const oldAnswers = statement<{ matching: number }>(
  'count_old_answers',
  sql`select count(*) as matching from idempotency_keys k where k.created_at < ${before}`,
);

/** What a rule is about: its kind, conditions and edge in time. */
export type Scope = Pick<RunRow, 'kind' | 'conditions' | 'before'>;

function bounds({ conditions, before }: Scope, now: string) {
  return { ...conditions, before, now };
}

/** What there is to remove, and the ids of the first of it. Reads all of the table: seconds for millions of records. */
export async function matching(db: Db, scope: Scope, now: string): Promise<Matching> {
  const { aged } = kinds[scope.kind];
  if (aged === null) {
    const found = await db.first(oldAnswers, { before: scope.before });
    return { matching: found?.matching ?? 0, firstIds: [] };
  }
  return (await db.first(countOf(scope.kind, aged), bounds(scope, now))) ?? { matching: 0, firstIds: [] };
}

const beginning: Position = { at: '0001-01-01T00:00:00.000Z', id: '00000000-0000-0000-0000-000000000000' };

/** The next records of a run, whether they are to go or not. */
export function look(db: Db, aged: Aged, scope: Scope, position: Position | null, now: string): Promise<Looked[]> {
  return db.all(walkOf(scope.kind, aged), { ...bounds(scope, now), ...(position ?? beginning) });
}

const lockFree = statement<{ id: string }>(
  'lock_free_customers',
  sql`select c.id from customers c where c.id = any(${param('ids')}::uuid[]) order by c.id for no key update skip locked`,
);

/** Locks those of the customers that nobody else has locked; waits for nobody. */
export async function lockFreeCustomers(tx: Transaction, ids: Iterable<string>): Promise<Set<string>> {
  const wanted = [...new Set(ids)];
  if (wanted.length === 0) return new Set();
  return new Set((await tx.all(lockFree, { ids: wanted })).map(({ id }) => id));
}

/** Of locked customers, those that are to be erased: what was read before the lock may have changed. */
export async function dueAmong(
  tx: Transaction,
  aged: Aged,
  scope: Scope,
  ids: string[],
  now: string,
): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await tx.all(stillDue(scope.kind, aged), { ...bounds(scope, now), ids });
  return rows.map(({ id }) => id);
}

/** Removes what is still to go of these records, whose customers are locked. Answers how many it were. */
export async function remove(
  tx: Transaction,
  removal: Statement<{ id: string }>,
  records: readonly Looked[],
  { before }: Scope,
  now: string,
): Promise<number> {
  if (records.length === 0) return 0;
  const removed = await tx.all(removal, {
    customerIds: records.map(({ customerId }) => customerId),
    ids: records.map(({ id }) => id),
    before,
    now,
  });
  return removed.length;
}
