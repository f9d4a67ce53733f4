import pg from 'pg';
import { graphqlQuery } from './floor-statements.ts';
import { median, type Shot } from './load.ts';
import { absent, type Line, type Stand, sample, send, timed, versus } from './stand.ts';

export async function customer(stand: Stand): Promise<Line[]> {
  const ids = await sample(stand, `select id from customers order by random() limit 2000`);
  const shots = ids.map((id): Shot => ({ method: 'GET', path: `/v1/customers/${id}` }));
  return [await versus(stand, 'customer by id', shots, 0.9)];
}

export async function page(stand: Stand): Promise<Line[]> {
  const instants = await sample(
    stand,
    `select to_char(placed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') from orders order by random() limit 500`,
  );
  const shots = instants.map((at): Shot => ({ method: 'GET', path: `/v1/orders?limit=50&placedTo=${at}` }));
  return [await versus(stand, 'page of 50 orders', shots, 0.85)];
}

export async function graphql(stand: Stand): Promise<Line[]> {
  const instants = await sample(
    stand,
    `select to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') from customers order by random() limit 500`,
  );
  const shots = instants.map((before): Shot => {
    return {
      method: 'POST',
      path: '/graphql',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: graphqlQuery, variables: { before } }),
    };
  });
  return [await versus(stand, 'GraphQL 20 customers × 5 orders', shots, 0.5)];
}

/** Pages anywhere in long histories: half of them in that of the one customer with a tenth of all interactions. */
export async function timeline(stand: Stand): Promise<Line[]> {
  const places = await sample(
    stand,
    `with counts as (select customer_id, count(*) as n from interactions group by 1 having count(*) >= 100),
       longest as (select customer_id from counts order by n desc limit 1),
       places as (select i.customer_id, occurred_at, i.customer_id in (select customer_id from longest) as long
         from interactions i join counts using (customer_id)),
       mixed as (select *, row_number() over (partition by long order by random()) as place from places)
     select '/v1/customers/' || customer_id || '/timeline?limit=50&to=' || to_char(occurred_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
     from mixed where place <= 500 order by place`,
  );
  const shots = places.map((path): Shot => ({ method: 'GET', path }));
  return [await versus(stand, 'timeline page of 50', shots, 0.8)];
}

/** Retention of two months against the time it takes to add up all orders. */
export async function retention(stand: Stand): Promise<Line[]> {
  const now = new Date();
  const month = (back: number) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 10);
  const path = `/v1/metrics/retention-rate?from=${month(1)}&to=${month(0)}`;
  const measure = 'retention of two months';
  const probe = await send(stand.service, stand.token, { method: 'GET', path });
  if (probe.status !== 200) return [absent(measure, '≤ 0.3', `${path} answers ${probe.status}`)];
  const client = new pg.Client(stand.connection);
  await client.connect();
  const sum = () => client.query('SELECT sum(total) FROM orders');
  const metric = () => send(stand.service, stand.token, { method: 'GET', path });
  const times: { metric: number; sum: number }[] = [];
  await sum();
  for (let round = 0; round < 2 * stand.effort.rounds + 1; round += 1) {
    times.push({ metric: await timed(metric), sum: await timed(sum) });
  }
  await client.end();
  const ratio = median(times.map((time) => time.metric / time.sum));
  return [
    {
      measure,
      service: `${median(times.map((time) => time.metric)).toFixed(1)} ms`,
      floor: `sum(total) ${median(times.map((time) => time.sum)).toFixed(1)} ms`,
      ratio,
      target: '≤ 0.3',
      met: ratio <= 0.3,
      ...(stand.store.orders < 1_000_000 && { note: 'the target is for a million orders' }),
    },
  ];
}
