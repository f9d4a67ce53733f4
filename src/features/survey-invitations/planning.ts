import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { insertRows, param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import { job } from '../../platform/jobs.ts';
import { surveys } from '../surveys/model.ts';
import type { SurveyRow } from '../surveys/queries.ts';
import { type InvitationTrigger, surveyInvitations } from './model.ts';
import type { InvitationRow } from './queries.ts';

/**
 * Days that an occasion is looked back at after its delay: an order that is paid or fulfilled, or told at all, later than
 * that asks nobody any more. It bounds what planning reads.
 */
const lookBackDays = 30;

/** Invitations of one transaction, at most. */
const chunk = 1_000;

const day = 86_400_000;

type AskingSurvey = Pick<SurveyRow, 'id' | 'channel' | 'settings'> & { openedAt: string };

const asking = statement<AskingSurvey>(
  'asking_surveys',
  sql`select ${surveys.id} as id, ${surveys.channel} as channel, ${surveys.settings} as settings, ${surveys.openedAt} as "openedAt"
    from ${surveys} where ${surveys.status} = 'open' and ${surveys.openedAt} is not null
      and (${surveys.closesAt} is null or ${surveys.closesAt} > ${param('now')}::timestamptz)
      and (${param('surveyId')}::uuid is null or ${surveys.id} = ${param('surveyId')}::uuid)`,
);

/** A trigger of an open survey, and when what it asks about happened. */
interface Window {
  surveyId: string;
  on: InvitationTrigger;
  stage: string | null;
  delayDays: number;
  from: string;
  to: string;
}

function windowsOf({ id, openedAt, settings }: AskingSurvey, now: string): Window[] {
  return settings.triggers.flatMap(({ on, stage, delayDays }) => {
    const end = Date.parse(now) - delayDays * day;
    const from = Math.max(Date.parse(openedAt), end - lookBackDays * day);
    if (from > end) return [];
    // A survey opened within a millisecond does not ask about what came before.
    const start = from === Date.parse(openedAt) ? openedAt : new Date(from).toISOString();
    return [{ surveyId: id, on, stage, delayDays, from: start, to: new Date(end).toISOString() }];
  });
}

interface Occasion {
  surveyId: string;
  customerId: string;
  trigger: InvitationTrigger;
  occasion: string;
  orderId: string | null;
  dueAt: string;
}

const windows = sql`json_to_recordset(${param('windows')}::json) as w("surveyId" uuid, "on" text, "stage" text, "delayDays" int, "from" timestamptz, "to" timestamptz)`;

const isNew = (customer: string, occasion: string) =>
  sql`not exists (select from survey_invitations i where i.customer_id = ${sql.raw(customer)} and i.survey_id = w."surveyId" and i.occasion = ${sql.raw(occasion)})`;

const dueOrders = statement<Occasion>(
  'due_orders',
  sql`select w."surveyId", o.customer_id as "customerId", w."on" as trigger, o.id::text as occasion, o.id as "orderId",
      o.placed_at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows} join orders o on o.placed_at >= w."from" and o.placed_at <= w."to"
    where o.cancelled_at is null and not o.test
      and case w."on" when 'order_paid' then o.payment_status = 'paid' when 'order_fulfilled' then o.fulfillment_status = 'fulfilled' else true end
      and ${isNew('o.customer_id', 'o.id::text')}
    order by o.placed_at, o.id limit ${sql.raw(String(chunk))}`,
);

const dueStages = statement<Occasion>(
  'due_stages',
  sql`select w."surveyId", h.customer_id as "customerId", w."on" as trigger, h.customer_id || ':' || h.sequence as occasion, null::uuid as "orderId",
      h.at + w."delayDays" * interval '1 day' as "dueAt"
    from ${windows} join lead_stage_changes h on h.at >= w."from" and h.at <= w."to"
    where (w."stage" is null or h.to_stage = w."stage") and ${isNew('h.customer_id', `h.customer_id || ':' || h.sequence`)}
    order by h.at, h.customer_id limit ${sql.raw(String(chunk))}`,
);

const insert = statement<{ id: string }>(
  'plan_invitations',
  sql`${insertRows(surveyInvitations, param('rows'))} on conflict do nothing returning id`,
);

/**
 * Makes due what the triggers of open surveys say, at most 1,000 of orders and of stages each; once per customer, survey
 * and occasion, and not before its delay is over. An order counts as it is then: there is no record of when it was paid or
 * fulfilled, so the delay runs from when it was placed. It has to be placed, and a stage entered, since the survey was
 * opened.
 *
 * Who plans the same at the same time waits for the other and finds it done.
 *
 * @returns whether there may be more
 */
export async function planDue(tx: Transaction, now: string, surveyId: string | null = null): Promise<boolean> {
  const open = await tx.all(asking, { now, surveyId });
  const all = open.flatMap((survey) => windowsOf(survey, now));
  const [ofStages, ofOrders] = [
    all.filter(({ on }) => on === 'stage_entered'),
    all.filter(({ on }) => on !== 'stage_entered'),
  ];
  const [orders, stages] = await Promise.all([
    ofOrders.length === 0 ? [] : tx.all(dueOrders, { windows: JSON.stringify(ofOrders) }),
    ofStages.length === 0 ? [] : tx.all(dueStages, { windows: JSON.stringify(ofStages) }),
  ]);
  const channels = new Map(open.map(({ id, channel }) => [id, channel]));
  // In one order, so that two planners do not wait for each other's rows.
  const found = [...orders, ...stages].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  if (found.length === 0) return false;
  const rows = found.map(
    (occasion): InvitationRow => ({
      ...occasion,
      id: newId(),
      version: 1,
      status: 'due',
      interactionId: null,
      sku: null,
      staff: null,
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
  return orders.length === chunk || stages.length === chunk;
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
