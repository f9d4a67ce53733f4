import { sql } from 'drizzle-orm';
import type { Group } from '../../domain/assignment.ts';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import { answered, updateRows } from '../../records/table.ts';
import { customers } from '../customers/record.ts';
import { followUps } from '../follow-ups/record.ts';
import { leads } from '../leads/record.ts';
import {
  type Assignment,
  type AssignmentKey,
  type AssignmentMethod,
  type AssignmentPurpose,
  type AssignmentRuleRow,
  assignmentRules,
  assignments,
  assignmentTurns,
} from './record.ts';

export type TurnRow = typeof assignmentTurns.$inferSelect;

const byId = statement<AssignmentRuleRow>(
  'assignment_rule',
  sql`select ${fields(assignmentRules)} from ${assignmentRules} where ${assignmentRules.id} = ${param('id')}::uuid`,
);

export function ruleById(db: Db, id: string): Promise<AssignmentRuleRow | null> {
  return db.first(byId, { id });
}

const lock = statement<AssignmentRuleRow>(
  'lock_assignment_rule',
  sql`select ${fields(assignmentRules)} from ${assignmentRules} where ${assignmentRules.id} = ${param('id')}::uuid for no key update`,
);

/** The rule as it is, locked. */
export function lockRule(tx: Transaction, id: string): Promise<AssignmentRuleRow | null> {
  return tx.first(lock, { id });
}

const add = statement('insert_assignment_rule', insertRows(assignmentRules, param('rows')));

export async function insertRule(tx: Transaction, row: AssignmentRuleRow): Promise<void> {
  await tx.all(add, { rows: JSON.stringify([row]) });
}

const change = statement('update_assignment_rule', updateRows(assignmentRules, param('rows')));

export async function updateRule(tx: Transaction, row: AssignmentRuleRow): Promise<void> {
  await tx.all(change, { rows: JSON.stringify([row]) });
}

const remove = statement(
  'delete_assignment_rule',
  sql`with turns as (delete from assignment_turns where rule_id = ${param('id')}::uuid)
    delete from assignment_rules where id = ${param('id')}::uuid`,
);

/** Deletes a rule and its turns; the history keeps the rule's id. */
export async function deleteRule(tx: Transaction, id: string): Promise<void> {
  await tx.all(remove, { id });
}

/** What of an active rule decides, with the groups that are asked for. */
export interface ActiveRule {
  id: string;
  method: AssignmentMethod;
  key: AssignmentKey | null;
  groups: Group[];
}

const active = statement<ActiveRule>(
  'active_assignment_rules',
  sql`select r.id, r.method, r.key, coalesce((
        select json_agg(g order by place) from jsonb_array_elements(r.groups) with ordinality as groups(g, place)
        where g ->> 'value' is null or (${param('values')}::jsonb -> r.key) ? (g ->> 'value')
      ), '[]') as groups
    from assignment_rules r where r.active and r.purpose = ${param('purpose')} order by r.position, r.id`,
);

/** The active rules of a purpose in order, with their groups for these values of the keys and for every other. */
export function activeRules(
  db: Db,
  purpose: AssignmentPurpose,
  values: Record<AssignmentKey, string[]>,
): Promise<ActiveRule[]> {
  return db.all(active, { purpose, values: JSON.stringify(values) });
}

const take = statement<TurnRow>(
  'take_assignment_turns',
  sql`insert into ${assignmentTurns} as t (rule_id, value, members, turn)
    select n."ruleId", n."value", n."members", n."turn" from ${rowsOf(assignmentTurns, param('rows'), 'n')}
    order by n."ruleId", n."value", n."members"
    on conflict (rule_id, value, members) do update set turn = t.turn + excluded.turn
    returning t.rule_id as "ruleId", t.value, t.members, t.turn`,
);

/**
 * Takes so many turns (`turn`) at each of these counts and answers the counts after that. Until the transaction ends
 * nobody else takes a turn there; the rows are locked in one order.
 */
export function takeTurns(tx: Transaction, rows: TurnRow[]): Promise<TurnRow[]> {
  return tx.all(take, { rows: JSON.stringify(rows) });
}

const load = statement<{ member: string; open: number }>(
  'assignment_load',
  sql`select member, (select count(*) from ${leads} where ${leads.owner} = member
        and ${leads.stage} in ('subscriber', 'lead', 'marketing_qualified', 'sales_qualified'))
      + (select count(*) from ${followUps} where ${followUps.owner} = member and ${followUps.status} = 'open') as open
    from unnest(${param('members')}::text[]) as member`,
);

/** How many open leads (before the stage `customer`) and open follow-ups each of these members has. */
export async function openLoad(db: Db, members: string[]): Promise<Map<string, number>> {
  const rows = await db.all(load, { members });
  return new Map(rows.map(({ member, open }) => [member, open]));
}

/** What the keys of assignment rules say of a customer. */
export interface SubjectRow {
  customerId: string;
  country: string | null;
  segment: string | null;
  source: string | null;
}

const subjects = statement<SubjectRow>(
  'assignment_subjects',
  sql`select ${customers.id} as "customerId", ${customers.address} ->> 'country' as country, ${leads.segment} as segment,
      coalesce(${leads.source}, ${customers.acquisitionSource}) as source
    from ${customers} left join ${leads} on ${leads.customerId} = ${customers.id}
    where ${customers.id} = any(${param('ids')}::uuid[])`,
);

/** The keys of customers as they are stored; the segment and the source are those of the lead, if it is one. */
export function subjectsOf(db: Db, ids: string[]): Promise<SubjectRow[]> {
  return db.all(subjects, { ids });
}

const insert = statement('insert_assignments', insertRows(assignments, param('rows')));

/** Adds to the history; nobody waits for it but COMMIT. */
export function insertAssignments(tx: Transaction, rows: Assignment[]): void {
  tx.pipeline(insert, { rows: JSON.stringify(rows) });
}

/** Assignments that come with a lead, at most; the rest is on the pages of its list. */
const latest = sql.raw('100');

// By row_number(): the distributed engine refuses a lateral top-N.
const ofLeads = statement<Assignment & { place: number }>(
  'assignments_of_leads',
  sql`select * from (
      select ${answered(assignments)}, row_number() over (
        partition by ${assignments.customerId} order by ${assignments.at} desc, ${assignments.id} desc
      ) as place
      from ${assignments} where ${assignments.customerId} = any(${param('ids')}::uuid[]) and ${assignments.purpose} = 'lead'
    ) a where place <= ${latest} order by "at", "id"`,
);

/** The latest assignments of these leads themselves, in order of time. */
export async function assignmentsOfLeads(db: Db, ids: string[]): Promise<Assignment[]> {
  return (await db.all(ofLeads, { ids })).map(({ place: _, ...row }) => row);
}
