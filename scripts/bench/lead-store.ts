import type pg from 'pg';
import { fillTables, type Step, type Tick } from './store.ts';

/** A store of leads, filled by SQL. */
export interface LeadStore {
  leads: number;
  interactions: number;
}

const interactionsPerLead = 5;
/** Owners have names like `staff17`. */
export const staffCount = 200;

/**
 * Fills a migrated, empty database with leads that came in over the last year, and five interactions for each in the
 * order in which they happened: most with those who came last, as interest fades, and three in ten with the one lead in
 * fifty that is keen. Every stage, source and owner occurs. Bounds of the scores are left to the service's own job.
 */
export async function fillLeadStore(connection: pg.ClientConfig, leads: number, tick: Tick): Promise<LeadStore> {
  await fillTables(connection, [...people(leads), ...contacts(leads)], tick);
  return { leads, interactions: leads * interactionsPerLead };
}

/** How many of a hundred leads stand in a stage; of a hundred interactions are of a kind. */
const stages = {
  subscriber: 25,
  lead: 40,
  marketing_qualified: 12,
  sales_qualified: 5,
  customer: 10,
  former: 8,
};
const kinds = {
  web_visit: 40,
  email_sent: 20,
  email_opened: 14,
  ad_impression: 9,
  email_clicked: 5,
  phone: 4,
  form: 4,
  chat: 2,
  meeting: 1,
  unsubscribe: 1,
};

/** One of them, drawn by chance. */
function drawn(shares: Record<string, number>): string {
  const hundred = Object.entries(shares).flatMap(([name, share]) => Array.from({ length: share }, () => `'${name}'`));
  return `(array[${hundred}])[1 + floor(random() * 100)::int]`;
}

function people(leads: number): Step[] {
  return [
    [
      'leads',
      `create temporary table bench_leads as
         select n, uuidv7(at - now()) as id, at, ${drawn(stages)} as stage,
           (array['search', 'social', 'referral', 'fair'])[1 + floor(random() * 4)::int] as source
         from (select n, date_trunc('milliseconds', now() - interval '1 year' + n * (interval '1 year' / ${leads + 1})) as at
           from generate_series(1, ${leads}) n) t`,
    ],
    [
      'customers',
      `insert into customers (id, version, kind, given_name, family_name, name, address, acquisition_source, created_at, updated_at)
         select id, 1, case when n % 10 = 0 then 'company' else 'person' end, case when n % 10 > 0 then 'Given' || n end,
           case when n % 10 > 0 then 'Family' || n % 5000 end, case when n % 10 = 0 then 'Company ' || n end,
           case when n % 4 > 0 then jsonb_build_object('city', 'City' || n % 300, 'country', 'GB') end, source, at, at
         from bench_leads order by n`,
    ],
    [
      'customers',
      `insert into customer_identities (kind, value, customer_id, is_primary, created_at)
         select 'email', 'lead' || n || '@example.org', id, true, at from bench_leads where n % 8 > 0
         union all select 'phone', '+4477' || lpad(n::text, 8, '0'), id, true, at from bench_leads where n % 3 = 0`,
    ],
    [
      'customers',
      `insert into external_refs (kind, source, external_id, record_id, customer_id, position, created_at)
         select 'customer', 'bench', 'C' || n, id, id, 0, at from bench_leads`,
    ],
    [
      'leads',
      `insert into leads (customer_id, version, stage, stage_since, loss_reason, owner, source, segment, entered_at, converted_at, created_at, updated_at)
         select id, 1, stage, since, case when stage = 'former' then 'price' end, case when n % 5 > 0 then 'staff' || n % ${staffCount} end, source,
           (array['small', 'large'])[1 + n % 2], at, case when stage = 'customer' then since end, at, since
         from (select *, case when stage in ('subscriber', 'lead') then at else at + (now() - at) / 3 end as since from bench_leads) l order by n`,
    ],
    [
      'stages of leads',
      `insert into lead_stage_changes (customer_id, id, at, sequence, from_stage, to_stage, by, loss_reason, created_at)
         select customer_id, uuidv7(entered_at - now()), entered_at, 1, null, case when stage = 'subscriber' then stage else 'lead' end, 'bench', null, entered_at
         from leads
         union all select customer_id, uuidv7(stage_since - now()), stage_since, 2, 'lead', stage, 'bench', loss_reason, stage_since
         from leads where stage not in ('subscriber', 'lead')`,
    ],
  ];
}

function contacts(leads: number): Step[] {
  const count = leads * interactionsPerLead;
  return [
    [
      'interactions',
      `insert into interactions (customer_id, id, version, source, external_id, kind, direction, channel, occurred_at, topic, outcome,
           staff, seconds, pages, text, created_at, updated_at)
         select l.id, uuidv7(i.at - now()), 1, 'bench', 'I' || i.n, i.kind,
           case when i.kind in ('email_sent', 'ad_impression') or i.kind in ('phone', 'meeting') and i.n % 2 = 0 then 'outbound' else 'inbound' end,
           'online', greatest(i.at, l.at), case when i.kind in ('phone', 'chat', 'form') then 'offer' end,
           case when i.kind in ('phone', 'chat') then 'solved' end, case when i.kind in ('phone', 'chat', 'meeting') then 'staff' || i.n % ${staffCount} end,
           case when i.kind in ('phone', 'chat', 'meeting', 'web_visit') then i.n % 900 end, case when i.kind = 'web_visit' then 1 + i.n % 12 end,
           case when i.kind = 'form' then 'Asked for an offer, number ' || i.n end, i.at, i.at
         from (
           select n, at, kind, case when n % 10 < 3 then greatest(1, newest - newest % 50) else newest end as lead
           from (
             select n, ${drawn(kinds)} as kind,
               date_trunc('milliseconds', now() - interval '1 year' + n * (interval '1 year' / ${count + 1})) as at,
               1 + floor((n - 1) / ${interactionsPerLead} * (1 - power(random(), 2)))::int as newest
             from generate_series(1, ${count}) n) drawn) i
         join bench_leads l on l.n = i.lead order by i.n`,
    ],
  ];
}
