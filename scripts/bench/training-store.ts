import type pg from 'pg';
import { fillTables, type Step, type Tick } from './store.ts';

/** A store of leads that there is something to learn from, filled by SQL. */
export interface TrainingStore {
  leads: number;
}

/**
 * Fills a migrated, empty database with leads: persons with attributes and five interactions each, who entered between
 * two years and one year ago. About a third became customers, the more so the longer they stayed on the website and by
 * what they do.
 */
export async function fillTrainingStore(
  connection: pg.ClientConfig,
  leads: number,
  tick: Tick,
): Promise<TrainingStore> {
  await fillTables(connection, [['leads', people(leads)], ...steps], tick);
  return { leads };
}

/** Numbers that look drawn, 0 to 1, and are the same in every run. */
const draw = (salt: number) => `((hashint8extended(n, ${salt}) & 65535) / 65536.0)`;

const people = (leads: number) => `create temporary table bench_people as
  select *, date_trunc('milliseconds', now()) - interval '2 years' + entered * interval '1 year' as entered_at,
      1 / (1 + exp(-(minutes / 4 - 2.4 + case occupation when 'employed' then 1.2 when 'student' then -0.8 else 0 end
        + case source when 'reference' then 1 else 0 end))) > luck as converts
    from (select n, uuidv7(n * interval '1 millisecond' - interval '2 years') as id,
        ${draw(1)} as entered, ${draw(2)} as luck, power(${draw(3)}, 3) * 20 as minutes,
        (array['employed', 'student', 'unemployed', 'housewife', 'business'])[1 + floor(5 * ${draw(4)})::int] as occupation,
        (array['google', 'direct', 'chat', 'reference', 'organic', 'fair'])[1 + floor(6 * ${draw(5)})::int] as source,
        'city ' || floor(40 * ${draw(6)} * ${draw(7)}) as city, floor(18 + 40 * ${draw(8)})::int as age,
        (array['finance', 'marketing', 'operations', 'it', 'health', 'media'])[1 + floor(6 * ${draw(9)})::int] as field
      from generate_series(1, ${leads}) n) drawn`;

const steps: Step[] = [
  [
    'customers',
    `insert into customers (id, version, kind, name, address, acquisition_source, attributes, created_at, updated_at)
   select id, 1, 'person', 'Lead ' || n, json_build_object('country', case when n % 3 = 0 then 'DE' else 'GB' end), source,
     jsonb_build_object('occupation', occupation, 'city', city, 'age', age, 'field', field, 'newsletter', n % 2 = 0), entered_at, entered_at
   from bench_people`,
  ],
  [
    'leads',
    `insert into leads (customer_id, version, stage, stage_since, owner, source, entered_at, converted_at, created_at, updated_at)
   select id, 1, case when converts then 'customer' else 'lead' end, entered_at + case when converts then interval '30 days' else '0' end,
     'member ' || n % 10, source, entered_at, case when converts then entered_at + interval '30 days' end, entered_at, entered_at
   from bench_people`,
  ],
  [
    'stages of leads',
    `insert into lead_stage_changes (customer_id, id, at, sequence, from_stage, to_stage, by, created_at)
   select id, gen_random_uuid(), entered_at, 1, null, 'lead', 'bench', entered_at from bench_people
   union all
   select id, gen_random_uuid(), entered_at + interval '30 days', 2, 'lead', 'customer', 'bench', entered_at from bench_people where converts`,
  ],
  [
    'interactions',
    `insert into interactions (customer_id, id, version, kind, direction, occurred_at, topic, seconds, pages, created_at, updated_at)
   select id, gen_random_uuid(), 1, (array['web_visit', 'web_visit', 'email_opened', 'email_sent', 'phone'])[k],
     case when k in (4, 5) then 'outbound' else 'inbound' end, entered_at + k * interval '1 day',
     case when k = 5 then (array['price', 'dates', 'content', 'no answer'])[1 + floor(4 * ${draw(10)})::int] end,
     case when k <= 2 then (minutes * 30)::int when k = 5 then 120 end, case when k <= 2 then 1 + n % 7 end, entered_at, entered_at
   from bench_people, generate_series(1, 5) k`,
  ],
];
