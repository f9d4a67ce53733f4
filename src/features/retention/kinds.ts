import { type SQL, sql } from 'drizzle-orm';
import { param, type Statement, statement } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { silentSince } from '../../records/personal-data.ts';
import { raiseStamps } from '../../records/stamps.ts';

/** What a rule of a kind is about. */
interface Kind {
  /** For the documents. */
  says: string;
  /** Conditions that its rules may have. */
  conditions: readonly ('customerKind' | 'keepConsented' | 'channel' | 'surveyId')[];
  /** null: answers kept for repeated calls, which the platform deletes. */
  aged: Aged | null;
}

/** Records in the order in which they are looked at, which of them are to go, and how. */
export interface Aged {
  from: SQL;
  id: SQL;
  customerId: SQL;
  /** Whose order is that of an index, with `id` behind it; none: that of the ids. */
  at?: SQL;
  due: () => SQL;
  /** Records of one step: of customers a step erases some, which is much more work than to clear a text. */
  step: number;
  /** `erase`: the customer is erased. Else by customer and id; it looks again at whether they are to go. */
  remove: 'erase' | Statement<{ id: string }>;
}

const before = sql`${param('before')}::timestamptz`;

/** Whether table `from` (alias `f`) has nothing of customer `c` of which `at` holds. */
const nothing = (from: SQL, at: SQL) => sql`not exists (select from ${from} f where f.customer_id = c.id and ${at})`;

/**
 * Who may be erased: not heard of, nor heard from us, as the definitions say (`lifeSign`): everything but what happens by
 * itself (points that are earned, expire or are given for a birthday) and changes of the profile, which imports make every
 * night.
 */
const erasable = () => sql`c.erased_at is null and ${isSomebody(sql`c.id`)}
  and (${param('customerKind')}::text is null or c.kind = ${param('customerKind')}::text)
  and (not ${param('keepConsented')}::boolean or ${nothing(sql`consents`, sql`f.status = 'granted'`)})
  and ${silentSince(before)}`;

const surveyId = sql`${param('surveyId')}::uuid`;

const keys = sql`unnest(${param('customerIds')}::uuid[], ${param('ids')}::uuid[]) as k(customer_id, id)`;
const noted = raiseStamps('x');

const definitions = {
  customer: {
    says: 'erases customers who are older than the limit and have had no record and no contact since.',
    conditions: ['customerKind', 'keepConsented'],
    aged: {
      from: sql`customers c`,
      id: sql`c.id`,
      customerId: sql`c.id`,
      due: erasable,
      step: 200,
      remove: 'erase',
    },
  },
  lead: {
    says: 'the same for leads that never converted and never ordered.',
    conditions: ['customerKind', 'keepConsented'],
    aged: {
      from: sql`leads l join customers c on c.id = l.customer_id`,
      id: sql`l.customer_id`,
      customerId: sql`l.customer_id`,
      due: () => sql`l.converted_at is null and ${nothing(sql`orders`, sql`true`)} and ${erasable()}`,
      step: 200,
      remove: 'erase',
    },
  },
  interaction_text: {
    says: 'texts of interactions.',
    conditions: ['channel'],
    aged: {
      from: sql`interactions i`,
      id: sql`i.id`,
      customerId: sql`i.customer_id`,
      at: sql`i.occurred_at`,
      due: () =>
        sql`i.text is not null and (${param('channel')}::text is null or i.channel = ${param('channel')}::text)`,
      step: 2_000,
      remove: statement<{ id: string }>(
        'forget_interaction_texts',
        sql`update interactions x set text = null, ${noted} from ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.text is not null and x.occurred_at < ${before} returning x.id`,
      ),
    },
  },
  survey_text: {
    says: 'texts of survey answers.',
    conditions: ['surveyId'],
    aged: {
      from: sql`survey_responses r`,
      id: sql`r.id`,
      customerId: sql`r.customer_id`,
      at: sql`r.answered_at`,
      due: () => sql`(${surveyId} is null or r.survey_id = ${surveyId})
      and exists (select from survey_answers a where a.response_id = r.id and a.text is not null)`,
      step: 2_000,
      // An anonymous response has no customer: its own row is its lock.
      remove: statement<{ id: string }>(
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
    },
  },
  follow_up_note: {
    says: 'reasons and notes of closed follow-ups.',
    conditions: [],
    aged: {
      from: sql`follow_ups w`,
      id: sql`w.id`,
      customerId: sql`w.customer_id`,
      at: sql`w.created_at`,
      due: () => sql`w.status <> 'open' and w.closed_at < ${before} and (w.note is not null or w.reason is not null)`,
      step: 2_000,
      remove: statement<{ id: string }>(
        'forget_follow_up_notes',
        sql`update follow_ups x set note = null, reason = null, ${noted} from ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.status <> 'open' and x.closed_at < ${before} returning x.id`,
      ),
    },
  },
  survey_invitation: {
    says: 'invitations that are answered, cancelled or expired, unless somebody might be asked again too soon without them.',
    conditions: ['surveyId'],
    aged: {
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
      step: 2_000,
      remove: statement<{ id: string }>(
        'forget_survey_invitations',
        sql`delete from survey_invitations x using ${keys}
      where x.customer_id = k.customer_id and x.id = k.id and x.status in ('answered', 'cancelled', 'expired') and x.updated_at < ${before} returning x.id`,
      ),
    },
  },
  idempotency: {
    says: 'answers kept for repeated calls, which are deleted after 48 hours anyway.',
    conditions: [],
    aged: null,
  },
} satisfies Record<string, Kind>;
export type RetentionKind = keyof typeof definitions;
export const kinds: Readonly<Record<RetentionKind, Kind>> = definitions;
