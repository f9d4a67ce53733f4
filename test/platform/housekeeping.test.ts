import pg from 'pg';
import t from 'tap';
import { analyseGrownTables, forgetOldAnswers } from '../../src/platform/housekeeping.ts';
import { testApp } from '../support/app.ts';

t.test('tables that have grown by a large load are analysed', async (t) => {
  const api = await testApp(t);
  const pool = new pg.Pool({ ...api.connection, max: 1 });
  t.teardown(() => pool.end());
  // Autovacuum could come first.
  await pool.query('alter table customers set (autovacuum_enabled = false)');
  await pool.query('alter table campaigns set (autovacuum_enabled = false)');
  await pool.query(
    `insert into customers (id, version, kind, name, created_at, updated_at)
     select gen_random_uuid(), 1, 'person', 'Ada', now(), now() from generate_series(1, 12000)`,
  );
  await pool.query(
    "insert into campaigns (id, version, name, created_at, updated_at) values (gen_random_uuid(), 1, 'Spring', now(), now())",
  );
  await pool.query('select pg_stat_force_next_flush()');
  await pool.query('select 1');
  const known = async (table: string) => {
    const { rows } = await pool.query('select count(*)::int as n from pg_stats where tablename = $1', [table]);
    return rows[0].n > 0;
  };
  t.same([await known('customers'), await known('campaigns')], [false, false]);
  await api.app.jobs.addRecurring([analyseGrownTables.name]);
  await api.app.jobs.runDue();
  t.same([await known('customers'), await known('campaigns')], [true, false], 'a single row is no load');
});

t.test('stored answers are forgotten after 48 hours, however many there are', async (t) => {
  const api = await testApp(t);
  const pool = new pg.Pool({ ...api.connection, max: 1 });
  t.teardown(() => pool.end());
  await pool.query(
    `insert into idempotency_keys (client, operation, personal, key, fingerprint, status, body, created_at)
     select 'shop', 'createOrder', true, n::text, '', 201, '{}', now() - case when n % 3 = 0 then interval '47 hours' else interval '49 hours' end
     from generate_series(1, 16000) n`,
  );
  await api.app.jobs.addRecurring([forgetOldAnswers.name]);
  await api.app.jobs.runDue();
  const { rows } = await pool.query(
    `select count(*)::int as kept, count(*) filter (where created_at < now() - interval '48 hours')::int as old from idempotency_keys`,
  );
  t.same(rows, [{ kept: 5333, old: 0 }]);
});

t.test('nothing that the start waits for has a time limit of the framework', async (t) => {
  const api = await testApp(t);
  t.equal(api.app.initialConfig.pluginTimeout, 0);
});
