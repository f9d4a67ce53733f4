import { type Measure, rate } from './measure.ts';
import { get, type Shot, type Stand, sample } from './stand.ts';

export const utc = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export async function customersById(stand: Stand, among = 'customers'): Promise<Shot[]> {
  const ids = await sample(stand, `select id from ${among} order by random() limit 2000`);
  return ids.map((id) => get(`/v1/customers/${id}`));
}

export async function pagesOfOrders(stand: Stand): Promise<Shot[]> {
  const instants = await sample(stand, `select ${utc('placed_at')} from orders order by random() limit 500`);
  return instants.map((at) => get(`/v1/orders?limit=50&placedTo=${at}`));
}

/** Pages anywhere in long histories: half of them in that of the one customer with a tenth of all interactions. */
export async function pagesOfTimelines(stand: Stand, among = 'interactions'): Promise<Shot[]> {
  const places = await sample(
    stand,
    `with counts as (select customer_id, count(*) as n from ${among} group by 1 having count(*) >= 100),
       longest as (select customer_id from counts order by n desc limit 1),
       places as (select i.customer_id, occurred_at, i.customer_id in (select customer_id from longest) as long
         from interactions i join counts using (customer_id)),
       mixed as (select *, row_number() over (partition by long order by random()) as place from places)
     select '/v1/customers/' || customer_id || '/timeline?limit=50&to=' || ${utc('occurred_at')}
     from mixed where place <= 500 order by place`,
  );
  return places.map(get);
}

export const reads: Measure[] = [
  rate({
    name: 'customer',
    title: 'customer by id, with personal data (audited)',
    mark: { atLeast: 1 },
    shots: (stand) => customersById(stand),
  }),
  rate({ name: 'page', title: 'page of 50 orders', mark: { atLeast: 1.1 }, shots: pagesOfOrders }),
  rate({
    name: 'timeline',
    title: 'timeline page of 50',
    mark: { atLeast: 1 },
    shots: (stand) => pagesOfTimelines(stand),
  }),
];
