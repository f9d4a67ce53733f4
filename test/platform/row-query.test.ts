import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import pg from 'pg';
import t, { type Test } from 'tap';
import { openPool, param, poolDb, statement, transaction } from '../../src/platform/db/client.ts';
import { Problem } from '../../src/platform/errors.ts';
import { testDatabase } from '../support/database.ts';
import { draws } from '../support/draws.ts';

/** How statements are sent and their rows decoded: on a connection of their own, on shared ones, and in transactions. */

const { connection } = await testDatabase(t);

function pool(t: Pick<Test, 'teardown'>, statementTimeout = 30_000, size = 2) {
  const made = openPool(connection, { size, statementTimeout, as: 'login' });
  t.teardown(() => made.end());
  return made;
}

const text = fc.string({ unit: 'grapheme' }).map((drawn) => drawn.replaceAll('\0', ''));
const values = fc.record(
  {
    text: fc.option(text),
    whole: fc.option(fc.maxSafeInteger()),
    small: fc.option(fc.integer()),
    yes: fc.option(fc.boolean()),
    exact: fc.option(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }).map((drawn) => `${drawn}.5`)),
    day: fc.option(fc.constantFrom('2026-02-28', '1999-12-31')),
    // Not null: that is the null of JSON.
    document: fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)), {
      noNullPrototype: true,
    }),
    words: fc.option(fc.array(text)),
    days: fc.array(fc.option(fc.constantFrom('2026-02-28', '1999-12-31'))),
    counts: fc.array(fc.option(fc.maxSafeInteger())),
  },
  { noNullPrototype: true },
);
const columns = sql`${param('text')}::text as text, ${param('whole')}::bigint as whole, ${param('small')}::int as small,
  ${param('yes')}::boolean as yes, ${param('exact')}::numeric as exact, ${param('day')}::date as day,
  ${param('document')}::json as document, ${param('words')}::text[] as words,
  ${param('days')}::date[] as days, ${param('counts')}::bigint[] as counts`;

t.test('rows come back as they were sent, however often and wherever a statement runs', async (t) => {
  const connections = pool(t);
  const db = poolDb(connections);
  const sent = statement<object>('echo', sql`select ${columns}`);
  const shared = statement<object>('echo_shared', sql`select ${columns}`, { lookup: true });
  const unprepared = statement<object>('echo_once', sql`select ${columns}`, { unprepared: true });
  await fc.assert(
    fc.asyncProperty(fc.array(values, { minLength: 1, maxLength: 8 }), async (rows) => {
      for (const one of [sent, shared, unprepared]) {
        const found = await Promise.all(
          rows.map((row) => db.all(one, { ...row, document: JSON.stringify(row.document) })),
        );
        t.strictSame(
          found,
          rows.map((row) => [row]),
        );
      }
      const inside = await transaction(connections, (tx) =>
        Promise.all(rows.map((row) => tx.first(sent, { ...row, document: JSON.stringify(row.document) }))),
      );
      t.strictSame(inside, rows);
    }),
    { numRuns: draws({ quick: 15, deep: 400 }) },
  );
});

t.test('members stand in the order of the columns, null or not', async (t) => {
  const db = poolDb(pool(t));
  const query = statement(
    'ordered',
    sql`select n as first, nullif(n, 2) as second, 'x' as third from generate_series(1, 2) n`,
  );
  for (const _run of [1, 2]) {
    const rows = await db.all<unknown>(query as never);
    t.same(
      rows.map((row) => JSON.stringify(row)),
      ['{"first":1,"second":1,"third":"x"}', '{"first":2,"second":null,"third":"x"}'],
    );
  }
});

t.test('statements without columns, without rows, and with several rows', async (t) => {
  const connections = pool(t);
  const db = poolDb(connections);
  await db.all(statement('make', sql`create table things (id int primary key)`));
  const insert = statement('add_thing', sql`insert into things values (${param('id')}::int)`);
  for (const id of [1, 2, 3]) t.same(await db.all(insert, { id }), []);
  const marks = statement('marks', sql`select from things`);
  t.same(await db.all(marks), [{}, {}, {}]);
  t.same(await db.all(marks), [{}, {}, {}]);
  t.same(await db.all(statement('nothing', sql`select id from things where id = 9`)), []);
});

t.test('what a cursor returns is described each time', async (t) => {
  const connections = pool(t);
  const fetch = statement<object>('fetch_all', sql`fetch all from held`);
  const close = statement('close_held', sql`close held`);
  for (const [name, rows] of [
    ['a', [{ a: 1, b: 2 }]],
    ['c', [{ c: 1, d: 2 }]],
  ] as const) {
    const columns = Object.keys(rows[0]).map((column, at) => `${at + 1} as ${column}`);
    const found = await transaction(connections, async (tx) => {
      await tx.all(statement(`declare_${name}`, sql.raw(`declare held cursor for select ${columns.join()}`)));
      const all = await tx.all(fetch);
      await tx.all(close);
      return all;
    });
    t.same(found, rows);
  }
});

t.test('a refused statement refuses itself and none of those around it', async (t) => {
  const db = poolDb(pool(t));
  const divide = statement<{ result: number }>('divide', sql`select 12 / ${param('by')}::int as result`, {
    lookup: true,
  });
  const whole = statement<{ n: number }>('whole', sql`select ${param('n')}::bigint as n`, { lookup: true });
  for (const _round of [1, 2, 3]) {
    const settled = await Promise.allSettled([
      ...[1, 0, 2, 0, 3].map((by) => db.first(divide, { by })),
      // Beyond what JSON can say: the rows behind it arrive all the same.
      ...['7', '9007199254740993', '8'].map((n) => db.first(whole, { n })),
    ]);
    t.match(settled, [
      { value: { result: 12 } },
      { reason: { code: '22012' } },
      { value: { result: 6 } },
      { reason: { code: '22012' } },
      { value: { result: 4 } },
      { value: { n: 7 } },
      { reason: RangeError },
      { value: { n: 8 } },
    ]);
  }
});

t.test('a refused statement in the middle of a group: nothing stays, and the connection goes on', async (t) => {
  const connections = pool(t, 30_000, 1);
  const db = poolDb(connections);
  await db.all(statement('make', sql`create table kept (id int primary key)`));
  const keep = statement('keep', sql`insert into kept values (${param('id')}::int)`);
  const divide = statement<{ result: number }>('divide', sql`select 12 / ${param('by')}::int as result`);
  const echo = statement<{ n: number }>('echo', sql`select ${param('n')}::int as n`);
  const own = statement<{ pid: number }>('own', sql`select pg_backend_pid() as pid`);
  const before = await db.first(own);
  // Names that are new to the connection in the first round, known in the second.
  for (const round of [1, 2]) {
    let settled: PromiseSettledResult<unknown>[] = [];
    const whole = transaction(connections, async (tx) => {
      settled = await Promise.allSettled([
        tx.first(keep, { id: round }),
        tx.first(divide, { by: 0 }),
        tx.first(echo, { n: 3 }),
        tx.first(divide, { by: 3 }),
      ]);
      return 'and goes on as if nothing were';
    });
    await t.rejects(whole, { message: /COMMIT was answered with ROLLBACK/ }, `round ${round}`);
    t.match(settled, [
      { status: 'fulfilled' },
      { reason: { code: '22012' } },
      { reason: { code: '22012' } },
      { reason: { code: '22012' } },
    ]);
    const good = await transaction(connections, (tx) =>
      Promise.all([tx.first(divide, { by: 4 }), tx.first(echo, { n: 5 }), tx.first(divide, { by: 6 })]),
    );
    t.same(good, [{ result: 3 }, { n: 5 }, { result: 2 }]);
  }
  t.same(await db.all(statement('all_kept', sql`select id from kept`)), []);
  t.same(await db.first(own), before, 'the same connection');
});

t.test('a value that cannot be sent refuses its transaction, awaited or not', async (t) => {
  const connections = pool(t, 30_000, 1);
  const db = poolDb(connections);
  await db.all(statement('make', sql`create table noted (id int primary key, document json)`));
  const note = statement('note', sql`insert into noted values (${param('id')}::int, ${param('document')}::json)`);
  const echo = statement<{ n: number }>('echo', sql`select ${param('n')}::int as n`);
  const divide = statement<{ result: number }>('divide', sql`select 12 / ${param('by')}::int as result`);
  const cannotBeSent: Record<string, unknown> = { text: 'x'.repeat(3_000) };
  cannotBeSent['self'] = cannotBeSent;
  const own = statement<{ pid: number }>('own', sql`select pg_backend_pid() as pid`);
  const before = await db.first(own);
  for (const round of [1, 2]) {
    const awaited = transaction(connections, async (tx) => {
      const first = tx.first(note, { id: 1, document: { round } });
      const second = tx.first(note, { id: 2, document: cannotBeSent });
      const third = tx.first(echo, { n: 1 });
      const settled = await Promise.allSettled([first, second, third]);
      t.match(settled, [{ status: 'fulfilled' }, { reason: TypeError }, { reason: TypeError }]);
      return second;
    });
    await t.rejects(awaited, TypeError, `awaited, round ${round}`);
    const refusedBefore = transaction(connections, (tx) =>
      Promise.all([tx.first(divide, { by: 0 }), tx.first(note, { id: 5, document: cannotBeSent })]),
    );
    await t.rejects(refusedBefore, { code: '22012' }, 'what the server refused before it comes first');
    // Nobody waits for it; COMMIT goes out long after.
    const pipelined = transaction(connections, async (tx) => {
      await tx.first(note, { id: 3, document: {} });
      tx.pipeline(note, { id: 4, document: cannotBeSent });
      await tx.first(echo, { n: 2 }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    await t.rejects(pipelined, TypeError, `in a pipeline, round ${round}`);
    t.same(await db.first(echo, { n: round }), { n: round });
  }
  t.same(await db.all(statement('all_noted', sql`select id from noted`)), [], 'nothing was committed');
  t.same(await db.first(own), before, 'the same connection');
});

t.test('a shared connection that is lost answers 503, and the next look-up opens another', async (t) => {
  const connections = pool(t);
  const db = poolDb(connections);
  const self = statement<{ pid: number }>('self', sql`select pg_backend_pid() as pid`, { lookup: true });
  const slow = statement<object>('slow', sql`select pg_sleep(30)::text`, { lookup: true });
  const before = await Promise.all([db.first(self), db.first(self)]);
  const waiting = [db.first(slow), db.first(slow), db.first(self), db.first(self)].map((one) =>
    one.then(
      () => 'answered',
      (error: unknown) => error,
    ),
  );
  const admin = new pg.Client(connection);
  await admin.connect();
  t.teardown(() => admin.end());
  for (const found of before) await admin.query('select pg_terminate_backend($1)', [found?.pid]);
  for (const error of await Promise.all(waiting)) {
    t.ok(error instanceof Problem);
    t.match(error, { code: 'unavailable' });
  }
  const after = await Promise.all([db.first(self), db.first(self)]);
  for (const found of after)
    t.notOk(
      before.some((one) => one?.pid === found?.pid),
      'another connection',
    );
});

t.test('a look-up that takes too long is cancelled, and those behind it are answered', async (t) => {
  const db = poolDb(pool(t, 300));
  const slow = statement<object>('slow', sql`select pg_sleep(30)::text`, { lookup: true });
  const one = statement<{ n: number }>('one', sql`select 1 as n`, { lookup: true });
  const settled = await Promise.allSettled([db.first(slow), db.first(slow), db.first(one), db.first(one)]);
  t.match(settled, [
    { reason: { code: 'unavailable' } },
    { reason: { code: 'unavailable' } },
    { value: { n: 1 } },
    { value: { n: 1 } },
  ]);
});

t.test('without a database every look-up is refused with 503', async (t) => {
  const nowhere = openPool({ ...connection, host: '127.0.0.1', port: 1 }, { size: 1, statementTimeout: 1_000 });
  t.teardown(() => nowhere.end());
  const db = poolDb(nowhere);
  const query = statement('one', sql`select 1 as n`, { lookup: true });
  for (const _round of [1, 2]) {
    const settled = await Promise.allSettled([db.first(query), db.first(query), db.first(query)]);
    for (const one of settled) t.match(one, { status: 'rejected', reason: { code: 'unavailable' } });
  }
});
