import { type Measure, time } from './measure.ts';
import { get } from './stand.ts';

/** Values that no row of the store has: a list must not walk through all the others. */
const absent = {
  orders: { status: 'refunded', paymentStatus: 'pending', currency: 'SEK', channel: 'phone', test: 'true' },
  interactions: { kind: 'meeting', outcome: 'lost', topic: 'gardening' },
};

export const rare: Measure[] = Object.entries(absent).flatMap(([list, filters]) =>
  Object.entries(filters).map(([filter, value]) =>
    time({
      name: `${list}-${filter}`,
      title: `${list} with an absent ${filter}`,
      mark: { within: 15 },
      shot: () => get(`/v1/${list}?limit=50&${filter}=${value}`),
    }),
  ),
);
