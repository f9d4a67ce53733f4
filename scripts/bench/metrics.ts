import { type Measure, time } from './measure.ts';
import { get, postJson } from './stand.ts';

const scan = 'SELECT sum(total) FROM orders';

/** The first day of a month. */
function month(back: number): string {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 10);
}
const during = (months: number, to = 0) => `from=${month(months + to)}&to=${month(to)}`;
const threeYears = during(36);

function metric(name: string, title: string, path: string, atMost: number): Measure {
  return time({ name, title, mark: { atMost }, against: scan, shot: () => get(`/v1/metrics/${path}`) });
}

/** As multiples of the time it takes to add up all orders. */
export const metrics: Measure[] = [
  metric('retention', 'retention of two months', `retention-rate?${during(1)}`, 0.3),
  metric('retention-3y', 'retention of three years', `retention-rate?${during(18)}`, 1),
  metric('repeat-purchase', 'repeat purchase', 'repeat-purchase-rate', 0.3),
  metric('churn', 'churn by silence', 'churn-rate?variant=silence', 0.3),
  time({
    name: 'gaps-mean',
    title: 'purchase gaps, mean only',
    mark: { atMost: 0.3 },
    against: scan,
    shot: () => postJson('/graphql', { query: '{ metrics { purchaseGaps { value } } }' }),
  }),
  metric('gaps', 'purchase gaps, all percentiles', 'purchase-gaps', 1),
  metric('gaps-2m', 'purchase gaps of two months', `purchase-gaps?${during(2)}`, 1),
  metric('gaps-3y', 'purchase gaps of three years', `purchase-gaps?${threeYears}`, 1),
  metric('order-value', 'average order value, three years', `average-order-value?${threeYears}`, 0.5),
  metric('revenue', 'revenue per customer, three years', `revenue-per-customer?${threeYears}`, 0.5),
  metric('ltv-simple', 'LTV simple, three years', `lifetime-value?variant=simple&retentionCost=500&${threeYears}`, 0.5),
  metric('ltv-historic', 'LTV historic, three years', `lifetime-value?variant=historic&${threeYears}`, 0.5),
  metric('ltv-four', 'LTV four-factor, three years', `lifetime-value?variant=four_factor&margin=0.4&${threeYears}`, 1),
  ...[
    'retention-rate',
    'repeat-purchase-rate',
    'churn-rate?variant=silence',
    'purchase-gaps',
    'average-order-value',
    'revenue-per-customer',
    'lifetime-value?variant=historic',
    'lifetime-value?variant=four_factor&margin=0.4',
  ].map((path) => {
    const title = path.replace(/\?variant=(\w+).*/, ', $1');
    const query = `${path.includes('?') ? '&' : '?'}interval=month&${threeYears}`;
    return metric(`by-month-${title.replace(', ', '-')}`, `${title}, by month`, path + query, 2);
  }),
];
