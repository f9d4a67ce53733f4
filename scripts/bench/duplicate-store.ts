import type pg from 'pg';
import { fillTables, type Step, type Tick } from './store.ts';

/** A store of customers of whom some are double, filled by SQL. */
export interface DuplicateStore {
  customers: number;
}

/**
 * Fills a migrated, empty database with customers. The oldest three tenths carry one address of a marketplace; of the others two
 * percent carry the e-mail of the one before. Of all, one percent have the name and birthday and one percent the name and
 * postal code of another.
 */
export async function fillDuplicateStore(
  connection: pg.ClientConfig,
  customers: number,
  tick: Tick,
): Promise<DuplicateStore> {
  await fillTables(connection, steps(customers), tick);
  return { customers };
}

const identity = `(customer_id, kind, value, is_primary, created_at)`;

const steps = (customers: number): Step[] => [
  [
    'customers',
    `create temporary table bench_people as
       select n, uuidv7(n * interval '1 second' - interval '3 years') as id from generate_series(1, ${customers}) n`,
  ],
  [
    'customers',
    `insert into customers (id, version, kind, name, birthday, address, created_at, updated_at)
       select id, 1, 'person', 'Customer ' || n - case when n % 100 in (1, 3) then 1 else 0 end,
         date '1950-01-01' + ((n - case when n % 100 = 1 then 1 else 0 end) % 20000)::int,
         json_build_object('postalCode', 'P' || n - case when n % 100 = 3 then 1 else 0 end), now(), now() from bench_people order by id`,
  ],
  [
    'identities',
    `insert into customer_identities ${identity} select id, 'email', 'customer' || n || '@example.org', true, now() from bench_people`,
  ],
  [
    'identities',
    `insert into customer_shared_identities ${identity}
       select id, 'email', 'customer' || n - 1 || '@example.org', false, now() from bench_people
         where n % 50 = 5 and n > ${0.3 * customers}
       union all select id, 'email', 'orders@marketplace.example', false, now() from bench_people where n <= ${0.3 * customers}`,
  ],
];
