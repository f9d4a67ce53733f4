import pg from 'pg';
import t from 'tap';
import { leadDifferences } from '../../src/features/leads/comparison.ts';
import { ledgerDifferences } from '../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../src/features/loyalty/earning-comparison.ts';
import { rewardDifferences } from '../../src/features/rewards/comparison.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { runJobs, testApp } from '../support/app.ts';
import { dumpOf } from '../support/holdings-dump.ts';
import { stockHouse, stockPerson } from '../support/people.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => pool.end());
const db = poolDb(pool);

async function differences() {
  return [
    ...(await rollupDifferences(db, 'UTC', 10)),
    ...(await leadDifferences(db, 10)),
    ...(await ledgerDifferences(db, 10)),
    ...(await earningDifferences(db, 'EUR', 10)),
    ...(await rewardDifferences(db, 10)),
  ];
}

async function make(path: string, body: unknown, status = 201): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status !== status) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const house = await stockHouse(api);

t.test('a merge moves everything, an unmerge brings it back exactly', async (t) => {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  await runJobs(api);
  const before = await dumpOf(database, [a.customer, b.customer]);
  const preview = await make(`/v1/customers/${a.customer}/merge/preview`, { customerId: b.customer }, 200);
  t.strictSame(preview.obstacles, []);
  const merged = await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer });
  t.strictSame(
    [...merged.moves].sort((x: any, y: any) => (x.kind < y.kind ? -1 : 1)),
    [...preview.moves].sort((x: any, y: any) => (x.kind < y.kind ? -1 : 1)),
  );
  t.strictSame(merged.decisions, preview.decisions);
  const after = await dumpOf(database, [a.customer, b.customer]);
  t.strictSame(await dumpOf(database, [b.customer]), Object.fromEntries(Object.keys(after).map((name) => [name, []])));
  for (const name of [
    'orders',
    'orderItems',
    'refunds',
    'returns',
    'interactions',
    'identities',
    'surveyResponses',
    'surveyAnswers',
    'loyaltyLots',
  ])
    t.equal(after[name]?.length, before[name]?.length, name);
  t.strictSame(await differences(), []);
  const parted = await make(`/v1/customers/${a.customer}/unmerge`, { mergeId: merged.id }, 200);
  t.strictSame(parted.kept, []);
  t.strictSame(await dumpOf(database, [a.customer, b.customer]), before);
  t.strictSame(await differences(), []);
  await runJobs(api);
  t.strictSame(await dumpOf(database, [a.customer, b.customer]), before);
});
