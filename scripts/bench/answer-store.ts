import type pg from 'pg';
import { fillTables, type Step, type Tick } from './store.ts';

/** A store of answers to a 0–10 question, filled by SQL. */
export interface AnswerStore {
  answers: number;
}

/**
 * Fills a migrated, empty database with the responses of three years to two surveys that ask the same 0–10 question, in
 * the order in which they came: of about six tenths as many customers, some of whom answered again, every fiftieth
 * anonymous, every hundredth broken off, every hundredth late. What the later answers supersede is as the service keeps it.
 */
export async function fillAnswerStore(connection: pg.ClientConfig, answers: number, tick: Tick): Promise<AnswerStore> {
  await fillTables(connection, steps(answers), tick);
  return { answers };
}

const steps = (answers: number): Step[] => [
  [
    'customers',
    `create temporary table bench_customers as
       select n, uuidv7(interval '-3 years') as id from generate_series(1, ${Math.ceil(0.9 * answers)}) n`,
  ],
  [
    'customers',
    `insert into customers (id, version, kind, given_name, family_name, created_at, updated_at)
       select id, 1, 'person', 'Given' || n, 'Family' || n % 5000, now() - interval '3 years', now() - interval '3 years' from bench_customers order by id`,
  ],
  [
    'surveys',
    `create temporary table bench_surveys as select n, uuidv7(interval '-3 years') as id from generate_series(1, 2) n`,
  ],
  [
    'surveys',
    `insert into surveys (id, version, name, status, current_version, opened_at, settings, created_at, updated_at)
       select id, 1, 'Survey ' || n, 'open', 1, now() - interval '3 years', '{}', now() - interval '3 years', now() - interval '3 years' from bench_surveys`,
  ],
  [
    'surveys',
    `insert into survey_versions (survey_id, number, questions, created_at)
       select id, 1, '[{"key": "recommend", "type": "nps", "text": "Would you recommend us?", "required": true}]', now() - interval '3 years' from bench_surveys`,
  ],
  [
    'responses',
    `create temporary table bench_responses as
       select d.n, uuidv7(at - now()) as id, case when d.n % 50 > 0 then c.id end as customer_id, s.id as survey_id, at,
         d.n % 100 = 7 as late, d.n % 100 = 13 as partial
       from (
         select n, 1 + floor(random() * ${Math.ceil(0.9 * answers)})::int as customer,
           date_trunc('milliseconds', now() - interval '3 years' + n * (interval '3 years' / ${answers + 1})) as at
         from generate_series(1, ${answers}) n) d
       join bench_customers c on c.n = d.customer join bench_surveys s on s.n = 1 + d.n % 2 order by d.n`,
  ],
  [
    'responses',
    `insert into survey_responses (id, customer_id, version, survey_id, survey_version, submission_id, status, answered_at, late,
         sku, staff, department, channel, language, created_at, updated_at)
       select id, customer_id, 1, survey_id, 1, 'S' || n, case when partial then 'partial' else 'complete' end, at, late,
         'SKU' || n % 4000, 'staff' || n % 200, 'department ' || n % 7, (array['web', 'store', 'email'])[1 + n % 3], 'en', at, at
       from bench_responses order by n`,
  ],
  [
    'answers',
    `insert into survey_answers (response_id, question, survey_id, customer_id, type, is_primary, counted, score, band, answered_at,
         superseded_at, superseded_in_survey_at)
       select id, 'recommend', survey_id, customer_id, 'nps', true, counted, score,
         case when score >= 9 then 1 when score >= 7 then 0 else -1 end, at,
         case when counted and customer_id is not null then lead(at) over (partition by customer_id, counted order by at, id) end,
         case when counted and customer_id is not null then lead(at) over (partition by customer_id, counted, survey_id order by at, id) end
       from (select *, not late and not partial as counted, 10 - floor(11 * power(random(), 2))::int as score from bench_responses) r order by n`,
  ],
];
