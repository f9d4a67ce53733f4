import { type SQL, sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import { silentSince } from '../../records/personal-data.ts';
import { assignments, fromRow } from '../../records/table.ts';
import { firstIdsLimit, type RetentionKind, retentionRules, retentionRuns } from './record.ts';

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
  sql`update retention_rules r set ${assignments(retentionRules, fromRow('n'), ['lastRunAt'])}
    from ${rowsOf(retentionRules, param('rows'), 'n')} where r.id = n."id"`,
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
      update retention_runs u set ${assignments(retentionRuns, fromRow('n'))}
      from ${rowsOf(retentionRuns, param('rows'), 'n')} where u.id = n."id" returning u.rule_id, u.finished_at
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

const before = sql`${param('before')}::timestamptz`;

/** Whether table `from` (alias `f`) has nothing of customer `c` of which `at` holds. */
const nothing = (from: SQL, at: SQL) => sql`not exists (select from ${from} f where f.customer_id = c.id and ${at})`;

/**
 * Who may be erased: not heard of, nor heard from us, as the definitions say (`lifeSign`): everything but what happens by
 * itself (points that are earned, expire or are given for a birthday) and changes of the profile, which imports make every
 * night.
 */
const erasable = () => sql`c.erased_at is null
  and (${param('customerKind')}::text is null or c.kind = ${param('customerKind')}::text)
  and (not ${param('keepConsented')}::boolean or ${nothing(sql`consents`, sql`f.status = 'granted'`)})
  and ${silentSince(before)}`;

const surveyId = sql`${param('surveyId')}::uuid`;

/** Records of a kind in the order in which they are looked at, and which of them are to go. */
interface Source {
  from: SQL;
  id: SQL;
  customerId: SQL;
  /** Whose order is that of an index, with `id` behind it; none: that of the ids. */
  at?: SQL;
  due: () => SQL;
}

const sources: Record<Exclude<RetentionKind, 'idempotency'>, Source> = {
  customer: { from: sql`customers c`, id: sql`c.id`, customerId: sql`c.id`, due: erasable },
  lead: {
    from: sql`leads l join customers c on c.id = l.customer_id`,
    id: sql`l.customer_id`,
    customerId: sql`l.customer_id`,
    due: () => sql`l.converted_at is null and ${nothing(sql`orders`, sql`true`)} and ${erasable()}`,
  },
  interaction_text: {
    from: sql`interactions i`,
    id: sql`i.id`,
    customerId: sql`i.customer_id`,
    at: sql`i.occurred_at`,
    due: () => sql`i.text is not null and (${param('channel')}::text is null or i.channel = ${param('channel')}::text)`,
  },
  survey_text: {
    from: sql`survey_responses r`,
    id: sql`r.id`,
    customerId: sql`r.customer_id`,
    at: sql`r.answered_at`,
    due: () => sql`(${surveyId} is null or r.survey_id = ${surveyId})
      and exists (select from survey_answers a where a.response_id = r.id and a.text is not null)`,
  },
  follow_up_note: {
    from: sql`follow_ups w`,
    id: sql`w.id`,
    customerId: sql`w.customer_id`,
    at: sql`w.created_at`,
    due: () => sql`w.status <> 'open' and w.closed_at < ${before} and (w.note is not null or w.reason is not null)`,
  },
  survey_invitation: {
    from: sql`survey_invitations v`,
    id: sql`v.id`,
    customerId: sql`v.customer_id`,
    at: sql`v.created_at`,
    // Planning knows by them whom it asked about what is due since 30 days, and who was asked too short a time ago.
    due: () => sql`v.status in ('answered', 'cancelled', 'expired') and v.updated_at < ${before}
      and (${surveyId} is null or v.survey_id = ${surveyId})
      and v.due_at < ${param('now')}::timestamptz - interval '31 days'
      and (v.sent_at is null or v.sent_at < ${param('now')}::timestamptz - interval '1 day' * (
        select coalesce(max((s.settings ->> 'contactFrequencyDays')::int), 0) from surveys s))`,
  },
};

const oldEnough = ({ at }: Source) => (at === undefined ? sql`true` : sql`${at} < ${before}`);

export interface Looked {
  at: string;
  id: string;
  customerId: string | null;
  due: boolean;
}

/** Records of one step: of customers a step erases some, which is much more work than to clear a text. */
export const stepSize: Readonly<Record<RetentionKind, number>> = {
  customer: 200,
  lead: 200,
  interaction_text: 2_000,
  survey_text: 2_000,
  follow_up_note: 2_000,
  survey_invitation: 2_000,
  idempotency: 5_000,
};

function walk(kind: keyof typeof sources) {
  const source = sources[kind];
  const { from, id, customerId, at = sql`'epoch'::timestamptz`, due } = source;
  const order = source.at ? sql`${source.at}, ${id}` : id;
  const edge = source.at
    ? sql`(${source.at}, ${id}) > (${param('at')}::timestamptz, ${param('id')}::uuid)`
    : sql`${id} > ${param('id')}::uuid`;
  return statement<Looked>(
    `walk_${kind}`,
    sql`select ${at} as at, ${id} as id, ${customerId} as "customerId", (${due()}) is true as due from ${from}
      where ${edge} and ${oldEnough(source)} order by ${order} limit ${sql.raw(String(stepSize[kind]))}`,
  );
}

function count(kind: keyof typeof sources) {
  const source = sources[kind];
  const { from, id, at = sql`'epoch'::timestamptz`, due } = source;
  return statement<Matching>(
    `count_${kind}`,
    sql`with due as (select ${at} as at, ${id} as id from ${from} where ${oldEnough(source)} and ${due()})
      select count(*) as matching, coalesce((select json_agg(id order by at, id) from (
        select at, id from due order by at, id limit ${sql.raw(String(firstIdsLimit))}) first), '[]') as "firstIds" from due`,
  );
}

type Walked = keyof typeof sources;

/** Made per kind, at first use: by then everything is defined. */
function perKind<K extends Walked, T>(make: (kind: K) => T): (kind: K) => T {
  const made = new Map<K, T>();
  return (kind) => {
    const known = made.get(kind) ?? make(kind);
    made.set(kind, known);
    return known;
  };
}

const walkOf = perKind(walk);
const countOf = perKind(count);

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
  const { kind } = scope;
  if (kind === 'idempotency') {
    const found = await db.first(oldAnswers, { before: scope.before });
    return { matching: found?.matching ?? 0, firstIds: [] };
  }
  return (await db.first(countOf(kind), bounds(scope, now))) ?? { matching: 0, firstIds: [] };
}

const beginning: Position = { at: '0001-01-01T00:00:00.000Z', id: '00000000-0000-0000-0000-000000000000' };

/** The next records of a run, whether they are to go or not. */
export function look(
  db: Db,
  kind: keyof typeof sources,
  scope: Scope,
  position: Position | null,
  now: string,
): Promise<Looked[]> {
  return db.all(walkOf(kind), { ...bounds(scope, now), ...(position ?? beginning) });
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

const stillDue = perKind((kind: 'customer' | 'lead') => {
  const { from, id, due } = sources[kind];
  return statement<{ id: string }>(
    `still_due_${kind}`,
    sql`select ${id} as id from ${from} where ${id} = any(${param('ids')}::uuid[]) and ${due()}`,
  );
});

/** Of locked customers, those that are to be erased: what was read before the lock may have changed. */
export async function dueAmong(
  tx: Transaction,
  kind: 'customer' | 'lead',
  scope: Scope,
  ids: string[],
  now: string,
): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await tx.all(stillDue(kind), { ...bounds(scope, now), ids });
  return rows.map(({ id }) => id);
}

const keys = sql`unnest(${param('customerIds')}::uuid[], ${param('ids')}::uuid[]) as k(customer_id, id)`;
const noted = sql`version = x.version + 1, updated_at = ${param('now')}::timestamptz`;

/** What removes records of a kind, by customer and id; each looks again at whether they are to go. */
const removals = {
  interaction_text: statement<{ id: string }>(
    'forget_interaction_texts',
    sql`update interactions x set text = null, ${noted} from ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.text is not null and x.occurred_at < ${before} returning x.id`,
  ),
  // An anonymous response has no customer: its own row is its lock.
  survey_text: statement<{ id: string }>(
    'forget_survey_texts',
    sql`with locked as materialized (
        select r.id from survey_responses r join ${keys} on k.id = r.id
        where r.customer_id is not distinct from k.customer_id and r.answered_at < ${before}
        order by r.id for no key update of r skip locked
      ), cleared as (
        update survey_answers a set text = null from locked where a.response_id = locked.id and a.text is not null returning a.response_id
      )
      update survey_responses x set ${noted} where x.id in (select response_id from cleared) returning x.id`,
  ),
  follow_up_note: statement<{ id: string }>(
    'forget_follow_up_notes',
    sql`update follow_ups x set note = null, reason = null, ${noted} from ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.status <> 'open' and x.closed_at < ${before} returning x.id`,
  ),
  survey_invitation: statement<{ id: string }>(
    'forget_survey_invitations',
    sql`delete from survey_invitations x using ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.status in ('answered', 'cancelled', 'expired') and x.updated_at < ${before} returning x.id`,
  ),
};

/** Removes what is still to go of these records, whose customers are locked. Answers how many it were. */
export async function remove(
  tx: Transaction,
  kind: keyof typeof removals,
  records: readonly Looked[],
  { before }: Scope,
  now: string,
): Promise<number> {
  if (records.length === 0) return 0;
  const removed = await tx.all(removals[kind], {
    customerIds: records.map(({ customerId }) => customerId),
    ids: records.map(({ id }) => id),
    before,
    now,
  });
  return removed.length;
}
