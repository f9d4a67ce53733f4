import { type Measure, time } from './measure.ts';
import { postJson } from './stand.ts';

function search(name: string, title: string, within: number, body: object): Measure {
  return time({ name, title, mark: { within }, shot: () => postJson('/v1/customers/search', { limit: 25, ...body }) });
}

const tree = (...conditions: readonly (readonly [field: string, op: string, value: unknown])[]) => ({
  filter: { and: conditions.map(([field, op, value]) => ({ field, op, value })) },
});

/** Searching customers, of whom there are a tenth as many as orders: the marks are those of a million customers. */
export const searches: Measure[] = [
  search('search-word', 'q: a name that 20 have', 50, { q: 'family4711' }),
  search('search-prefix', 'q: a beginning that all have', 50, { q: 'f' }),
  search('search-words', 'q: two beginnings that many have', 50, { q: 'family47 given1' }),
  search('search-email', 'q: the beginning of an e-mail', 50, { q: 'customer77' }),
  search('search-nobody', 'q: what nobody has', 50, { q: 'c99999999' }),
  search('tree-many', 'a tree over statistics that many match', 150, {
    ...tree(['orderCount', 'gte', 3], ['daysSinceLastOrder', 'gt', 90]),
  }),
  search('tree-few', 'a tree over statistics that few match', 150, {
    ...tree(['orderCount', 'gte', 60], ['revenue', 'gte', 500_000], ['daysSinceLastOrder', 'lt', 300]),
  }),
  search('tree-nobody', 'a tree over statistics that nobody matches', 150, {
    ...tree(['orderCount', 'gte', 1_000_000]),
  }),
];
