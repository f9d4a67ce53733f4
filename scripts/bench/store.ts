import pg from 'pg';

/** A store filled by SQL: what the measures draw from. */
export interface Store {
  orders: number;
  customers: number;
}

const source = 'bench';

/**
 * Fills a migrated, empty database with a believable store: `orders` orders of the last three years by a tenth as many
 * customers, a few of whom buy most; one to five lines each, a tenth in pounds; statistics and months as the service
 * keeps them, in the order in which it would have come to write them; as many interactions as orders, a tenth of them
 * with one customer.
 */
export async function fillStore(connection: pg.ClientConfig, orders: number, tick: Tick): Promise<Store> {
  const customers = Math.max(100, Math.floor(orders / 10));
  await fillTables(connection, [...facts(orders, customers), ...contacts(orders, customers)], tick);
  return { orders, customers };
}

/** What it is, and the SQL of it. */
export type Step = [what: string, text: string];
/** Told after each step, of `steps`. */
export type Tick = (done: number, steps: number, what: string) => void;

/** Runs the steps with all indexes and keys taken away, and puts these back: several times faster than keeping them. */
export async function fillTables(connection: pg.ClientConfig, steps: Step[], tick: Tick): Promise<void> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const keys = await constraints(client);
    const indexes = await plainIndexes(client);
    const work = [
      ...keys.map(({ table, name }): Step => ['taking keys away', `alter table ${table} drop constraint ${name}`]),
      ...indexes.map(({ name }): Step => ['taking indexes away', `drop index ${name}`]),
      ...steps,
      ...keys.toReversed().map(({ table, name, definition }): Step => {
        return ['putting keys back', `alter table ${table} add constraint ${name} ${definition}`];
      }),
      ...indexes.map(({ definition }): Step => ['putting indexes back', definition]),
      ['collecting statistics', 'vacuum analyze'] satisfies Step,
    ];
    await client.query(`set work_mem = '128MB'; set maintenance_work_mem = '512MB'; set timezone = 'UTC'`);
    for (const [index, [what, text]] of work.entries()) {
      tick(index, work.length, what);
      await client.query(text);
    }
    tick(work.length, work.length, 'done');
  } finally {
    await client.end();
  }
}

/** Foreign keys before the primary keys they rest on. */
async function constraints(client: pg.Client): Promise<{ table: string; name: string; definition: string }[]> {
  const { rows } = await client.query(
    `select conrelid::regclass::text as table, quote_ident(conname) as name, pg_get_constraintdef(oid) as definition
     from pg_constraint where connamespace = 'public'::regnamespace and contype in ('f', 'p') order by contype`,
  );
  return rows;
}

async function plainIndexes(client: pg.Client): Promise<{ name: string; definition: string }[]> {
  const { rows } = await client.query(
    `select quote_ident(indexname) as name, indexdef as definition from pg_indexes i where schemaname = 'public'
       and not exists (select from pg_constraint c where c.conname = i.indexname and c.connamespace = 'public'::regnamespace)`,
  );
  return rows;
}

/** The total of line `l` of order `n`, minor units. */
const lineTotal = (n: string, l: string) => `(300 + (${n}::bigint * 7919 + ${l} * 104729) % 5000)`;
/** Order `n` has one to five lines. */
const lines = (n: string) => `generate_series(0, ${n} % 5) l`;

function facts(orders: number, customers: number): Step[] {
  const counters = `orders, revenue, base_orders, base_revenue, returns, returned, base_returns, base_returned`;
  const counts = `count(*), sum(revenue), count(base_revenue), coalesce(sum(base_revenue), 0), 0, 0, 0, 0`;
  return [
    [
      'customers',
      `create temporary table bench_customers as
         select n, uuidv7(interval '-3 years' + n * (interval '3 years' / ${customers})) as id from generate_series(1, ${customers}) n`,
    ],
    [
      'customers',
      `insert into customers (id, version, kind, given_name, family_name, address, acquisition_source, created_at, updated_at)
         select id, 1, 'person', 'Given' || n, 'Family' || n % 5000, jsonb_build_object('city', 'City' || n % 300, 'country', 'GB'),
           (array['search', 'social', 'referral'])[1 + n % 3], at, at
         from bench_customers, lateral (select date_trunc('milliseconds', uuid_extract_timestamp(id)) as at) t`,
    ],
    [
      'customers',
      `insert into customer_identities (kind, value, customer_id, is_primary, created_at)
         select 'email', 'customer' || n || '@example.org', id, true, now() from bench_customers`,
    ],
    [
      'customers',
      `insert into external_refs (kind, source, external_id, record_id, customer_id, position, created_at)
         select 'customer', '${source}', 'C' || n, id, id, 0, now() from bench_customers`,
    ],
    [
      'search words',
      `insert into customer_terms (customer_id, term, of_name)
         select id, term, of_name from bench_customers, lateral (values ('given' || n, true), ('family' || n % 5000, true),
           ('customer' || n || '@example.org', false), ('example.org', false), ('c' || n, false)) w(term, of_name)`,
    ],
    [
      'orders',
      `create temporary table bench_orders as
         select o.n, c.id as customer_id, uuidv7(placed_at - now()) as id, placed_at from (
           select n, 1 + floor(power(random(), 2) * ${customers})::int as customer,
             date_trunc('milliseconds', now() - interval '3 years' + n * (interval '3 years' / ${orders + 1})) as placed_at
           from generate_series(1, ${orders}) n) o join bench_customers c on c.n = o.customer order by o.n`,
    ],
    [
      'orders',
      `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax,
           tax_included, rounding, payment_status, fulfillment_status, channel, test, exchange_rate, base_factor, refunds, refunded, created_at, updated_at)
         select customer_id, id, 1, '${source}', 'O' || n, placed_at, case when n % 10 = 0 then 'GBP' else 'EUR' end,
           (select sum(${lineTotal('n', 'l')}) from ${lines('n')}), 0, 0, 0, 0, true, 0, 'paid', 'fulfilled',
           (array['web', 'store', 'app'])[1 + n % 3], false, case when n % 10 = 0 then 1.15 else 1 end, case when n % 10 = 0 then 1.15 else 1 end,
           0, 0, placed_at, placed_at
         from bench_orders order by n`,
    ],
    [
      'order lines',
      `insert into order_items (customer_id, order_id, line, sku, name, category, quantity, total, unit_price, cost)
         select customer_id, id, l, 'SKU' || (n * 31 + l * 7) % 4000, 'Article ' || (n * 31 + l * 7) % 4000, 'Category ' || (n + l) % 20,
           1, ${lineTotal('n', 'l')}, null, null
         from bench_orders, ${lines('n')} order by n, l`,
    ],
    [
      'references',
      `insert into external_refs (kind, source, external_id, record_id, customer_id, position, created_at)
         select 'order', '${source}', 'O' || n, id, customer_id, 0, placed_at from bench_orders`,
    ],
    [
      'statistics',
      `insert into customer_stats (customer_id, currency, ${counters}, first_order_at, last_order_at, purchase_days)
         select customer_id, currency, ${counts}, min(placed_at), max(placed_at), count(distinct placed_at::date)
         from orders where qualifying group by 1, 2`,
    ],
    [
      'months',
      // No line has a cost; order n has 1 + n % 5 of them.
      `insert into customer_month (customer_id, month, currency, ${counters}, base_lines, base_costed_lines, base_cost)
         select customer_id, date_trunc('month', placed_at)::date, currency, ${counts}, sum(1 + substr(external_id, 2)::int % 5), 0, 0
         from orders where qualifying group by 1, 2, 3 order by 2, 1`,
    ],
    [
      'purchase days',
      `insert into customer_purchases (customer_id, days, orders, revenue, unvalued)
         select customer_id, array_agg(day order by day), array_agg(orders order by day), array_agg(revenue order by day), 0
         from (select customer_id, placed_at::date as day, sum(count(*)) over so_far::int as orders, sum(sum(base_revenue)) over so_far::bigint as revenue
               from orders where qualifying group by 1, 2 window so_far as (partition by customer_id order by placed_at::date)) by_day
         group by 1`,
    ],
  ];
}

/** Interactions and the campaigns that some of them name. Every tenth is with the first customer, a very long history. */
function contacts(interactions: number, customers: number): Step[] {
  return [
    [
      'campaigns',
      `create temporary table bench_campaigns as
         select n, uuidv7(interval '-3 years' + n * interval '50 days') as id, current_date - 1095 + n * 50 as starts_on from generate_series(1, 20) n`,
    ],
    [
      'campaigns',
      `insert into campaigns (id, version, name, channel, starts_on, ends_on, cost, created_at, updated_at)
         select id, 1, 'Campaign ' || n, 'email', starts_on, starts_on + 30, n * 10000, now(), now() from bench_campaigns`,
    ],
    [
      'interactions',
      `insert into interactions (customer_id, id, version, source, external_id, kind, direction, channel, occurred_at, topic, outcome,
           staff, seconds, campaign_id, text, created_at, updated_at)
         select c.id, uuidv7(i.at - now()), 1, '${source}', 'I' || i.n, i.kind,
           case when i.kind in ('email_sent', 'ad_impression') then 'outbound' else 'inbound' end, 'online', i.at,
           case when i.kind = 'phone' then 'delivery' end, case when i.kind = 'phone' then 'solved' end,
           case when i.kind = 'phone' then 'staff' || i.n % 50 end, case when i.kind in ('phone', 'web_visit') then i.n % 900 end,
           campaign.id, case when i.n % 40 = 0 then 'Asked about order ' || i.n end, i.at, i.at
         from (
           select n, (array['email_sent', 'email_opened', 'email_clicked', 'web_visit', 'ad_impression', 'phone'])[1 + n % 6] as kind,
             case when n % 10 = 0 then 1 else 1 + floor(power(random(), 2) * ${customers})::int end as customer,
             date_trunc('milliseconds', now() - interval '3 years' + n * (interval '3 years' / ${interactions + 1})) as at
           from generate_series(1, ${interactions}) n) i
         join bench_customers c on c.n = i.customer
         left join bench_campaigns campaign on i.kind like 'email%' and i.at >= campaign.starts_on and i.at < campaign.starts_on + 31
         order by i.n`,
    ],
  ];
}

/** An order document as a shop sends it, of a customer the store knows. Its number makes it unlike any other. */
export function orderDocument({ customers }: Pick<Store, 'customers'>, number: string, seed: number) {
  const count = 1 + (seed % 5);
  const items = Array.from({ length: count }, (_, line) => ({
    sku: `SKU${(seed * 31 + line * 7) % 4000}`,
    name: `Article ${(seed * 31 + line * 7) % 4000}`,
    category: `Category ${(seed + line) % 20}`,
    quantity: 1 + (seed % 3),
    total: 300 + ((seed * 7919 + line * 104_729) % 5000),
    unitPrice: '2.55',
  }));
  return {
    source,
    externalId: `${number}`,
    customer: { externalId: someCustomer(customers, seed) },
    placedAt: new Date(Date.now() - (seed % 86_400) * 1000).toISOString(),
    currency: 'EUR',
    total: items.reduce((sum, item) => sum + item.total, 0),
    items,
    paymentStatus: 'paid',
    fulfillmentStatus: 'fulfilled',
    channel: 'web',
  };
}

/** An interaction document of a customer the store knows: calls, visits and clicks. */
export function interactionDocument({ customers }: Pick<Store, 'customers'>, number: string, seed: number) {
  const kind = ['web_visit', 'phone', 'email_clicked', 'web_visit'][seed % 4];
  return {
    source,
    externalId: number,
    customer: { externalId: someCustomer(customers, seed) },
    kind,
    occurredAt: new Date(Date.now() - (seed % 86_400) * 1000).toISOString(),
    direction: 'inbound',
    channel: 'online',
    ...(kind === 'phone' && { topic: 'delivery', outcome: 'solved', staff: `staff${seed % 50}`, text: 'Asked when.' }),
    ...(kind === 'web_visit' && { seconds: seed % 900, pages: seed % 12 }),
  };
}

/** A large prime step visits the customers in an order of no pattern. */
function someCustomer(customers: number, seed: number): string {
  return `C${1 + ((seed * 7_919_317) % customers)}`;
}
