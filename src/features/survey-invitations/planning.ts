import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { insertRows, param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import { job } from '../../platform/jobs.ts';
import { isSomebody } from '../../records/nobody.ts';
import { hasConsent } from '../consents/queries.ts';
import { isTouch } from '../interactions/record.ts';
import { type Survey, type SurveyTriggerEvent, surveys } from '../surveys/record.ts';
import type { InvitationRow } from './queries.ts';
import { type InvitationTrigger, surveyInvitations, surveyPlans } from './record.ts';

/**
 * Days that an occasion is looked back at after its delay: an order that is paid or fulfilled, or told at all, later than
 * that asks nobody any more. It bounds what planning reads.
 */
const lookBackDays = 30;

/** Invitations of one transaction, at most. */
const chunk = 1_000;

const day = 86_400_000;

/** What is told is seen when it is committed: so much later than its time, at most, or told by so different a clock. */
const overlap = 600_000;

/** How often it is noted how far planning has come, at most. */
const noteEvery = 60_000;

type AskingSurvey = Pick<Survey, 'id' | 'channel' | 'settings'> & {
  openedAt: string;
  /** Null: never planned. */
  plannedFor: string | null;
  plannedUntil: string | null;
};

const asking = statement<AskingSurvey>(
  'asking_surveys',
  sql`select ${surveys.id} as id, ${surveys.channel} as channel, ${surveys.settings} as settings, ${surveys.openedAt} as "openedAt",
      ${surveyPlans.triggers} as "plannedFor", ${surveyPlans.plannedUntil} as "plannedUntil"
    from ${surveys} left join ${surveyPlans} on ${surveyPlans.surveyId} = ${surveys.id}
    where ${surveys.status} = 'open' and ${surveys.openedAt} is not null
      and (${surveys.closesAt} is null or ${surveys.closesAt} > ${param('now')}::timestamptz)
      and (${param('surveyId')}::uuid is null or ${surveys.id} = ${param('surveyId')}::uuid)`,
);

/** A trigger of an open survey, and when what it asks about happened. */
interface Window {
  surveyId: string;
  on: SurveyTriggerEvent;
  stage: string | null;
  kind: string | null;
  topic: string | null;
  outcome: string | null;
  delayDays: number;
  from: string;
  /** What happened from here on is due since the last planning. Before it, only what was told or changed since then is new. */
  newFrom: string;
  to: string;
  changedSince: string;
  changedUntil: string;
  /** What has to be consented to, and where. */
  purpose: string | null;
  channel: string | null;
}

function planOf({ openedAt, settings }: AskingSurvey): string {
  return JSON.stringify([openedAt, settings.triggers]);
}

function windowsOf(survey: AskingSurvey, now: string): Window[] {
  const { id, openedAt, settings, plannedFor, plannedUntil } = survey;
  const known = plannedUntil !== null && plannedFor === planOf(survey);
  // Clocks of those who tell may be ahead.
  const later = new Date(Date.parse(now) + overlap).toISOString();
  const until = known ? Date.parse(plannedUntil) : null;
  return settings.triggers.flatMap((trigger) => {
    const { delayDays } = trigger;
    const end = Date.parse(now) - delayDays * day;
    const opened = Date.parse(openedAt);
    const from = Math.max(opened, end - lookBackDays * day);
    if (from > end) return [];
    // Whole milliseconds, but for the instant it was opened: it does not ask about what came before.
    const text = (at: number) => (at <= opened ? openedAt : new Date(at).toISOString());
    return [
      {
        surveyId: id,
        ...trigger,
        from: text(from),
        newFrom: text(Math.max(from, (until ?? 0) - delayDays * day)),
        to: new Date(end).toISOString(),
        // Never planned: what is due is all there is.
        changedSince: until === null ? later : new Date(until - overlap).toISOString(),
        changedUntil: later,
        purpose: settings.consentPurpose ?? null,
        channel: survey.channel,
      },
    ];
  });
}

interface Occasion {
  surveyId: string;
  customerId: string;
  trigger: InvitationTrigger;
  occasion: string;
  orderId: string | null;
  interactionId: string | null;
  staff: string | null;
  dueAt: string;
}

const windows = sql`json_to_recordset(${param('windows')}::json) as w("surveyId" uuid, "on" text, "stage" text, "kind" text, "topic" text, "outcome" text, "delayDays" int, "from" timestamptz, "newFrom" timestamptz, "to" timestamptz, "changedSince" timestamptz, "changedUntil" timestamptz, "purpose" text, "channel" text)`;
const limit = sql.raw(String(chunk));

/** Not asked about it yet, and there to be asked. */
const isNew = (customer: string, occasion: string) =>
  sql`(w."purpose" is null or ${hasConsent({ customerId: customer, purpose: 'w."purpose"', channel: 'w."channel"' })})
    and ${isSomebody(sql.raw(customer))}
    and not exists (select from customers e where e.id = ${sql.raw(customer)} and e.erased_at is not null)
    and not exists (select from survey_invitations i where i.customer_id = ${sql.raw(customer)} and i.survey_id = w."surveyId" and i.occasion = ${sql.raw(occasion)})`;

/** Orders that a trigger asks about, of those that `some` finds: by itself, so that it is read from its index and no other. */
const dueOrders = (some: SQL) =>
  statement<Occasion>(
    'due_orders',
    sql`select w."surveyId", o.customer_id as "customerId", w."on" as trigger, o.id::text as occasion,
      o.id as "orderId", null::uuid as "interactionId", null::text as staff, o.placed_at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows}, lateral (select * from orders o where ${some} offset 0) o
    where o.placed_at >= w."from" and o.placed_at <= w."to" and o.cancelled_at is null and not o.test
      and case w."on" when 'order_paid' then o.payment_status = 'paid' when 'order_fulfilled' then o.fulfillment_status = 'fulfilled' else true end
      and ${isNew('o.customer_id', 'o.id::text')}
    order by o.placed_at + w."delayDays" * interval '1 day', o.id limit ${limit}`,
  );

const dueStages = (some: SQL) =>
  statement<Occasion>(
    'due_stages',
    sql`select w."surveyId", h.customer_id as "customerId", w."on" as trigger, h.customer_id || ':' || h.sequence as occasion,
      null::uuid as "orderId", null::uuid as "interactionId", null::text as staff, h.at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows}, lateral (${some} offset 0) h
    where h.at >= w."from" and h.at <= w."to" and (w."stage" is null or h.to_stage = w."stage") and ${isNew('h.customer_id', `h.customer_id || ':' || h.sequence`)}
    order by h.at + w."delayDays" * interval '1 day', h.customer_id, h.sequence limit ${limit}`,
  );

const dueInteractions = (some: SQL) =>
  statement<Occasion>(
    'due_interactions',
    sql`select w."surveyId", i.customer_id as "customerId", w."on" as trigger, i.id::text as occasion,
      null::uuid as "orderId", i.id as "interactionId", i.staff, i.occurred_at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows}, lateral (select * from interactions i where ${some} offset 0) i
    where i.occurred_at >= w."from" and i.occurred_at <= w."to" and ${isTouch} and (w."kind" is null or i.kind = w."kind")
      and (w."topic" is null or i.topic = w."topic") and (w."outcome" is null or i.outcome = w."outcome")
      and ${isNew('i.customer_id', 'i.id::text')}
    order by i.occurred_at + w."delayDays" * interval '1 day', i.id limit ${limit}`,
  );

const dueReturns = (some: SQL) =>
  statement<Occasion>(
    'due_returns',
    sql`select w."surveyId", r.customer_id as "customerId", w."on" as trigger, r.id::text as occasion,
      null::uuid as "orderId", null::uuid as "interactionId", null::text as staff, r.returned_at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows}, lateral (select * from returns r where ${some} offset 0) r
    where r.returned_at >= w."from" and r.returned_at <= w."to" and ${isNew('r.customer_id', 'r.id::text')}
    order by r.returned_at + w."delayDays" * interval '1 day', r.id limit ${limit}`,
  );

// With both ends named the planner expects a few rows; of what is later than something, a third of the table.
const changed = (table: string) =>
  sql`${sql.raw(table)}.updated_at >= w."changedSince" and ${sql.raw(table)}.updated_at <= w."changedUntil"`;
const ordersOf = {
  due: dueOrders(sql`o.placed_at >= w."newFrom" and o.placed_at <= w."to"`),
  changed: dueOrders(changed('o')),
};
const stagesOf = {
  due: dueStages(sql`select h.* from lead_stage_changes h where h.at >= w."newFrom" and h.at <= w."to"`),
  changed: dueStages(
    sql`select h.* from leads l join lead_stage_changes h on h.customer_id = l.customer_id where ${changed('l')}`,
  ),
};

const interactionsOf = {
  due: dueInteractions(sql`i.occurred_at >= w."newFrom" and i.occurred_at <= w."to"`),
  changed: dueInteractions(changed('i')),
};
const returnsOf = {
  due: dueReturns(sql`r.returned_at >= w."newFrom" and r.returned_at <= w."to"`),
  changed: dueReturns(changed('r')),
};
const queriesOf = {
  order_placed: ordersOf,
  order_paid: ordersOf,
  order_fulfilled: ordersOf,
  return_received: returnsOf,
  interaction_occurred: interactionsOf,
  stage_entered: stagesOf,
} satisfies Record<SurveyTriggerEvent, object>;

// They were read without a lock: who deletes one has found no invitations of it.
const keep = statement<{ id: string }>(
  'keep_asking_surveys',
  sql`select ${surveys.id} as id from ${surveys} where ${surveys.id} = any(${param('ids')}::uuid[]) order by ${surveys.id} for key share`,
);

const insert = statement<{ id: string }>(
  'plan_invitations',
  sql`${insertRows(surveyInvitations, param('rows'))} on conflict do nothing returning id`,
);

/**
 * Makes due what the triggers of open surveys say, in steps of some 1,000: once per customer, survey and occasion, and not
 * before its delay is over. An order counts as it is then: there is no record of when it was paid or fulfilled, so the
 * delay runs from when it was placed. What a trigger asks about has to have happened since the survey was opened. What is read
 * is what has become due since the last planning, and what was changed since then.
 *
 * Who plans the same at the same time waits for the other and finds it done.
 *
 * @returns whether there may be more
 */
export async function planDue(tx: Transaction, now: string, surveyId: string | null = null): Promise<boolean> {
  const open = await tx.all(asking, { now, surveyId });
  const all = open.flatMap((survey) => windowsOf(survey, now));
  const both = { due: [] as Occasion[][], changed: [] as Occasion[][] };
  for (const queries of new Set(all.map(({ on }) => queriesOf[on]))) {
    const triggers = JSON.stringify(all.filter(({ on }) => queriesOf[on] === queries));
    const [due, changed] = await Promise.all([
      tx.all(queries.due, { windows: triggers }),
      tx.all(queries.changed, { windows: triggers }),
    ]);
    both.due.push(due);
    both.changed.push(changed);
  }
  await insertPlanned(tx, now, open, [...both.due, ...both.changed].flat());
  const isCut = (part: Occasion[]) => part.length === chunk;
  if (both.changed.some(isCut)) return true;
  // They came in the order in which they are due: what is due before the last of a cut part is planned.
  const ends = both.due.filter(isCut).map((part) => part.at(-1)?.dueAt ?? now);
  const until = ends.reduce((a, b) => (Date.parse(a) < Date.parse(b) ? a : b), now);
  await noteProgress(tx, until, open);
  return ends.length > 0;
}

async function insertPlanned(tx: Transaction, now: string, open: AskingSurvey[], occasions: Occasion[]): Promise<void> {
  const channels = new Map(open.map(({ id, channel }) => [id, channel]));
  if (occasions.length === 0) return;
  const kept = new Set(
    (await tx.all(keep, { ids: [...new Set(occasions.map(({ surveyId }) => surveyId))] })).map(({ id }) => id),
  );
  // In one order, so that two planners do not wait for each other's rows.
  const found = occasions.filter(({ surveyId }) => kept.has(surveyId)).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const rows = found.map(
    (occasion): InvitationRow => ({
      ...occasion,
      id: newId(),
      version: 1,
      status: 'due',
      sku: null,
      department: null,
      process: null,
      channel: channels.get(occasion.surveyId) ?? null,
      sentAt: null,
      expiresAt: null,
      responseId: null,
      createdAt: now,
      updatedAt: now,
    }),
  );
  await tx.all(insert, { rows: JSON.stringify(rows) });
}

// Whoever holds a row is noting the same, or something later.
const note = statement(
  'note_survey_plans',
  sql`with held as (
      select p.survey_id, n."triggers" from ${surveyPlans} p join json_to_recordset(${param('rows')}::json) as n("surveyId" uuid, "triggers" text) on n."surveyId" = p.survey_id
      order by p.survey_id for update of p skip locked
    )
    update survey_plans p set triggers = held.triggers, planned_until = ${param('until')}::timestamptz from held where held.survey_id = p.survey_id`,
);
const begin = statement(
  'begin_survey_plans',
  sql`insert into survey_plans (survey_id, triggers, planned_until)
    select s.id, n."triggers", ${param('until')}::timestamptz
    from json_to_recordset(${param('rows')}::json) as n("surveyId" uuid, "triggers" text) join surveys s on s.id = n."surveyId"
    order by s.id for key share of s on conflict do nothing`,
);

async function noteProgress(tx: Transaction, until: string, open: AskingSurvey[]): Promise<void> {
  const asked = open.filter(({ settings }) => settings.triggers.length > 0);
  const rowsOf = (some: AskingSurvey[]) =>
    JSON.stringify(some.map((one) => ({ surveyId: one.id, triggers: planOf(one) })));
  const news = asked.filter(({ plannedUntil }) => plannedUntil === null);
  const old = asked.filter(
    (one) =>
      one.plannedUntil !== null &&
      (one.plannedFor !== planOf(one) || Date.parse(until) - Date.parse(one.plannedUntil) > noteEvery),
  );
  if (news.length > 0) await tx.all(begin, { rows: rowsOf(news), until });
  if (old.length > 0) await tx.all(note, { rows: rowsOf(old), until });
}

function keyOf({ customerId, surveyId, occasion }: Occasion): string {
  return `${customerId} ${surveyId} ${occasion}`;
}

/** Claims plan as well: this keeps what they find short, and the list of what is due complete. */
export const planSurveyInvitations = job({
  name: 'planSurveyInvitations',
  payload: z.strictObject({}),
  recurring: '*/10 * * * *',
  async run(services, _payload, { now, signal }) {
    for (let more = true; more; ) {
      signal.throwIfAborted();
      more = await transaction(services.pool, (tx) => planDue(tx, now));
    }
  },
});

export const surveyInvitationJobs = [planSurveyInvitations];
