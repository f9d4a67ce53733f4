import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { getTableName, sql } from 'drizzle-orm';
import fc from 'fast-check';
import pg from 'pg';
import t, { type Test } from 'tap';
import { tablePolicies } from '../../src/features.ts';
import { accessPending, applyAccess } from '../../src/platform/db/access.ts';
import {
  type Db,
  openPool,
  param,
  poolDb,
  scopedRoles,
  serviceRole,
  statement,
  transaction,
} from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { ScopedPool } from '../../src/platform/db/scoped-pool.ts';
import { Problem } from '../../src/platform/errors.ts';
import type { ScopedTo } from '../../src/platform/principal.ts';
import { testApp } from '../support/app.ts';
import { emptyDatabase } from '../support/database.ts';
import { type Person, stockHouse, stockPerson } from '../support/people.ts';
import { migrationsFolder, uniqueName } from '../support/server.ts';

/** What the database itself lets the roles of the service see and do, whatever an operation asks of it. */

const policies = tablePolicies();
const service = await testApp(t);
const { connection } = service;
const admin = new pg.Client(connection);
await admin.connect();
t.teardown(() => admin.end());

const house = await stockHouse(service);
const people = await Promise.all(Array.from({ length: 16 }, () => stockPerson(service, house)));
const [ada, ben, cleo] = people as [Person, Person, Person];
/** Partner n has person n to change, and person n + 1 to look at. */
const partners = people.map(() => randomUUID());
const shares = partners.flatMap((partner, n) => [
  { partner, customer: people[n]?.customer ?? '', writable: true },
  { partner, customer: people[(n + 1) % people.length]?.customer ?? '', writable: false },
]);
for (const { partner, customer, writable } of shares) {
  await admin.query('insert into partner_customers values ($1, $2, $3)', [partner, customer, writable]);
}
const sharedWith = (partner: string) =>
  shares.flatMap((share) => (share.partner === partner ? [share.customer] : [])).sort();

const poolFor = (t: Pick<Test, 'teardown'>, as: ScopedTo['kind'], size = 1, statementTimeout = 30_000) => {
  const pool = openPool(connection, { size, statementTimeout, as });
  t.teardown(() => pool.end());
  return pool;
};
const ofPartner = (pool: pg.Pool, n: number) =>
  new ScopedPool(pool, { kind: 'partner', id: partners[n] ?? randomUUID() });
const ofCustomer = (pool: pg.Pool, id: string) => new ScopedPool(pool, { kind: 'customer', id });

const customersSeen = statement<{ id: string }>('customers_seen', sql`select id from customers order by id`);
const seen = async (db: Db) => (await db.all(customersSeen)).map(({ id }) => id);
const rename = statement<{ id: string }>(
  'rename',
  sql`update customers set name = ${param('name')} where id = ${param('id')}::uuid returning id`,
);
const divide = statement('divide', sql`select 1 / ${param('by')}::int as quotient`);
const nap = statement('nap', sql`select pg_sleep(${param('seconds')}::float8)`);
const whoAmI = statement<{ name: string }>('who_am_i', sql`select current_user as name`);

/** Tables with rows of customers, and the column that says whose they are. */
const ofCustomers = policies.flatMap(({ table, access, owner = '' }) =>
  access === 'owner' ? [{ name: getTableName(table), owner }] : [],
);

t.test('the list names every table of the database', async (t) => {
  const { rows } = await admin.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')`,
  );
  t.strictSame(policies.map(({ table }) => getTableName(table)).sort(), rows.map(({ name }) => name).sort());
  const { rows: owned } = await admin.query<{ name: string }>(
    `select distinct table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'customer_id'`,
  );
  const apart = ['partner_customers', 'partner_shares', 'segment_members', 'customer_merges', 'privacy_tombstones'];
  const named = [...ofCustomers.map(({ name }) => name), ...apart];
  t.strictSame(
    owned.map(({ name }) => name).filter((name) => !named.includes(name)),
    [],
    'what has a customer is seen by scoped roles as policies allow',
  );
});

t.test('the roles can do what the list says, and nothing else', async (t) => {
  const { rows } = await admin.query<{ role: string; table: string; privileges: string[] }>(
    `select r.rolname as role, c.relname as table, array_agg(a.privilege_type order by a.privilege_type) as privileges
     from pg_class c cross join aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
     where c.relnamespace = 'public'::regnamespace and a.grantee <> c.relowner group by 1, 2`,
  );
  const all = ['DELETE', 'INSERT', 'SELECT', 'UPDATE'];
  const expected = policies.flatMap(({ table, access }) => {
    const name = getTableName(table);
    const scoped = access === 'owner' ? all : access === 'configuration' ? ['SELECT'] : [];
    const shares = access === 'shares' ? ['SELECT'] : access === 'partner' ? all : scoped;
    return [
      { role: serviceRole, table: name, privileges: access === 'append' ? ['INSERT', 'SELECT'] : all },
      { role: scopedRoles.partner, table: name, privileges: shares },
      { role: scopedRoles.customer, table: name, privileges: scoped },
    ].filter(({ privileges }) => privileges.length > 0);
  });
  const sorted = (list: { role: string; table: string; privileges: string[] | string }[]) =>
    list.map(({ role, table, privileges }) => `${table} ${role} ${[...privileges].join()}`).sort();
  const found = rows.map((row) => ({ ...row, privileges: String(row.privileges).replace(/[{}]/g, '').split(',') }));
  t.strictSame(sorted(found), sorted(expected));

  const { rows: secured } = await admin.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relrowsecurity and relforcerowsecurity`,
  );
  t.strictSame(
    secured.map(({ name }) => name).sort(),
    [...ofCustomers.map(({ name }) => name), 'partner_customers', 'webhook_deliveries', 'webhooks'].sort(),
  );

  const names = [serviceRole, ...Object.values(scopedRoles)];
  const { rows: powers } = await admin.query(
    `select rolname from pg_roles where rolname = any($1) and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolcanlogin
       or rolreplication or exists (select from pg_auth_members m where m.member = pg_roles.oid)
       or exists (select from pg_class where relowner = pg_roles.oid))`,
    [names],
  );
  t.strictSame(powers, [], 'no role has powers of its own');
  const pools = (['service', 'partner', 'customer'] as const).map((as) =>
    openPool(connection, { size: 1, statementTimeout: 30_000, as }),
  );
  for (const pool of pools) {
    t.teardown(() => pool.end());
    for (const text of [
      'create table t ()',
      'create schema s',
      'alter table customers disable row level security',
      'truncate orders',
    ]) {
      await t.rejects(pool.query(text), { code: '42501' }, text);
    }
  }
  const [own, partner, customer] = pools as [pg.Pool, pg.Pool, pg.Pool];
  for (const text of ['delete from audit_entries', "update audit_entries set client = 'x'", 'truncate audit_entries']) {
    await t.rejects(own.query(text), { code: '42501' }, text);
  }
  for (const pool of [partner, customer]) {
    for (const text of [
      'select from idempotency_keys',
      'select from graphile_worker.jobs',
      'select from client_secrets',
    ]) {
      await t.rejects(pool.query(text), { code: '42501' }, text);
    }
  }
});

t.test('a filter that was forgotten lets nothing out', async (t) => {
  const [partnerPool, customerPool] = [poolFor(t, 'partner'), poolFor(t, 'customer')];
  const counts = new Map<string, number>();
  for (const { name, owner } of ofCustomers) {
    const owners = statement<{ owner: string | null }>(
      `owners_${name}`,
      sql`select ${sql.identifier(owner)} as owner from ${sql.identifier(name)}`,
    );
    const distinct = async (db: Db) => [...new Set((await db.all(owners)).map((row) => row.owner))].sort();
    const { rows } = await admin.query<{ owner: string }>(
      `select distinct ${owner} as owner from ${name} where ${owner} = any($1)`,
      [people.map(({ customer }) => customer)],
    );
    const having = new Set(rows.map((row) => row.owner));
    counts.set(name, having.size);
    for (const n of [0, 1, 7]) {
      const expected = sharedWith(partners[n] ?? '').filter((id) => having.has(id));
      t.strictSame(await distinct(poolDb(ofPartner(partnerPool, n))), expected, `${name} to partner ${n}`);
      t.strictSame(
        await transaction(ofPartner(partnerPool, n), distinct),
        expected,
        `${name} to partner ${n} in a transaction`,
      );
    }
    const own = having.has(ada.customer) ? [ada.customer] : [];
    t.strictSame(await distinct(poolDb(ofCustomer(customerPool, ada.customer))), own, `${name} to a customer`);
    t.strictSame(await distinct(poolDb(ofPartner(partnerPool, -1))), [], `${name} to an unknown partner`);
    for (const pool of [partnerPool, customerPool]) {
      t.equal((await pool.query(`select from ${name}`)).rowCount, 0, `${name} to nobody`);
    }
  }
  const filled = [...counts].filter(([, size]) => size > 1).map(([name]) => name);
  for (const name of [
    'customers',
    'orders',
    'order_items',
    'external_refs',
    'leads',
    'loyalty_lots',
    'survey_answers',
  ]) {
    t.ok(filled.includes(name), `there is something to hide in ${name}`);
  }
  const all = 'select partner_id, customer_id from partner_customers';
  t.equal((await partnerPool.query(all)).rowCount, 0);
  const sharesSeen = statement<{ id: string }>(
    'shares_seen',
    sql`select customer_id as id from partner_customers order by 1`,
  );
  const own = (await poolDb(ofPartner(partnerPool, 3)).all(sharesSeen)).map(({ id }) => id);
  t.strictSame(own, sharedWith(partners[3] ?? ''), 'shares themselves');
});

t.test('a connection forgets for whom it worked', async (t) => {
  const pool = poolFor(t, 'partner', 1, 300);
  const pid = async () => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid;
  const nobody = async (after: string) => {
    t.equal((await pool.query('select from customers')).rowCount, 0, `nobody sees anything after ${after}`);
    t.notOk((await pool.query("select current_setting('rapport.partner', true) as id")).rows[0].id, after);
    t.match((await pool.query('select current_user as name')).rows, [{ name: scopedRoles.partner }], after);
  };
  await nobody('nothing');
  const first = await pid();
  t.strictSame(await seen(poolDb(ofPartner(pool, 0))), sharedWith(partners[0] ?? ''));
  await nobody('a statement');
  t.strictSame(await seen(poolDb(ofPartner(pool, 1))), sharedWith(partners[1] ?? ''));
  await transaction(ofPartner(pool, 2), seen);
  await nobody('a transaction');
  await transaction(ofPartner(pool, 2), seen, { snapshot: true });
  await nobody('a snapshot');
  await transaction(ofPartner(pool, 2), (tx) => tx.asService(seen), { rollback: true });
  await nobody('a dry run');
  t.equal(await pid(), first, 'one connection all along');
  await t.rejects(poolDb(ofPartner(pool, 0)).all(divide, { by: 0 }), { code: '22012' });
  await nobody('an error');
  await t.rejects(poolDb(ofPartner(pool, 0)).all(nap, { seconds: 5 }), { code: 'unavailable' });
  await nobody('a statement that was cancelled');
  await t.rejects(
    transaction(ofPartner(pool, 0), (tx) => tx.all(divide, { by: 0 })),
    { code: '22012' },
  );
  await nobody('an error in a transaction');
  await t.rejects(
    transaction(ofPartner(pool, 0), (tx) => tx.asService((free) => free.all(divide, { by: 0 }))),
    { code: '22012' },
  );
  await nobody('an error as the service');
});

t.test('what is pipelined on one connection is kept apart', async (t) => {
  const client = new pg.Client({
    ...connection,
    options: `-c role=${scopedRoles.partner}`,
    pipeline: true,
  } as pg.ClientConfig);
  await client.connect();
  t.teardown(() => client.end());
  // A pool that hands out the same connection to everybody at once.
  const shared = Object.assign(poolFor(t, 'partner'), {
    query: (config: pg.QueryConfig) =>
      new Promise((resolve, reject) => {
        client.query(
          Object.assign(config, {
            callback: (error: Error | null, result: unknown) => (error ? reject(error) : resolve(result)),
          }),
        );
      }),
  });
  await client.query({
    name: 'rapport_scope',
    text: "select where set_config('rapport.partner', $1, true) is null",
    values: [''],
  });
  const calls = fc.array(
    fc.record({ n: fc.integer({ min: 0, max: 15 }), what: fc.constantFrom('look', 'look', 'fail', 'nobody') }),
    { minLength: 2, maxLength: 40 },
  );
  await fc.assert(
    fc.asyncProperty(calls, async (list) => {
      const answers = await Promise.all(
        list.map(async ({ n, what }) => {
          if (what === 'nobody') return { n: null, got: (await client.query('select id from customers')).rows };
          const db = poolDb(ofPartner(shared as unknown as pg.Pool, n));
          if (what === 'look') return { n, got: await seen(db) };
          return {
            n: -1,
            got: await db.all(divide, { by: 0 }).catch((error: unknown) => (error as { code: string }).code),
          };
        }),
      );
      for (const { n, got } of answers) {
        const expected = n === null ? [] : n === -1 ? '22012' : sharedWith(partners[n] ?? '');
        t.strictSame(got, expected);
      }
    }),
    { numRuns: 30 },
  );
});

t.test('sixteen partners at once, some of them interrupted', async (t) => {
  const pool = poolFor(t, 'partner', 4, 2_000);
  const random = fc.sample(fc.nat(99), { numRuns: 16 * 40, seed: 7 });
  await Promise.all(
    partners.map(async (partner, n) => {
      const own = ofPartner(pool, n);
      const expected = sharedWith(partner);
      for (let turn = 0; turn < 40; turn += 1) {
        const dice = random[n * 40 + turn] ?? 0;
        if (dice < 10) await t.rejects(poolDb(own).all(divide, { by: 0 }));
        else if (dice < 20) await t.rejects(transaction(own, (tx) => tx.all(divide, { by: 0 })));
        else if (dice < 40) {
          const both = await transaction(own, (tx) =>
            Promise.all([seen(tx), tx.asService(seen), seen(tx), tx.all(whoAmI)]),
          );
          t.strictSame([both[0], both[2]], [expected, expected]);
          t.ok(both[1].length >= people.length);
          t.strictSame(both[3], [{ name: scopedRoles.partner }]);
        } else t.strictSame(await seen(poolDb(own)), expected);
      }
    }),
  );
});

t.test('only what is shared for writing is written', async (t) => {
  const pool = poolFor(t, 'partner');
  const writing = (n: number, id: string) =>
    transaction(ofPartner(pool, n), (tx) => tx.all(rename, { id, name: 'New' }));
  t.equal((await writing(0, ada.customer)).length, 1);
  await t.rejects(writing(0, ben.customer), { code: 'not_shared', status: 403 }, 'read only');
  t.strictSame(await writing(0, cleo.customer), [], 'what is not seen is not there');
  const insert = statement(
    'insert_interaction',
    sql`insert into interactions (customer_id, id, version, kind, occurred_at, created_at, updated_at)
      values (${param('customer')}::uuid, gen_random_uuid(), 1, 'email', now(), now(), now())`,
  );
  for (const { customer } of [ben, cleo]) {
    await t.rejects(
      transaction(ofPartner(pool, 0), (tx) => tx.all(insert, { customer })),
      { code: 'not_shared' },
    );
  }
  await t.resolves(transaction(ofPartner(pool, 0), (tx) => tx.all(insert, { customer: ada.customer })));
  const move = statement(
    'move_orders',
    sql`update orders set customer_id = ${param('to')}::uuid where customer_id = ${param('from')}::uuid`,
  );
  for (const to of [ben, cleo]) {
    const moving = transaction(ofPartner(pool, 0), (tx) => tx.all(move, { from: ada.customer, to: to.customer }));
    await t.rejects(moving, { code: 'not_shared' }, 'facts are not pushed to others');
  }
  const remove = statement<{ id: string }>(
    'remove_interactions',
    sql`delete from interactions returning customer_id as id`,
  );
  const gone = await transaction(ofPartner(pool, 0), (tx) => tx.all(remove), { rollback: true });
  t.strictSame([...new Set(gone.map(({ id }) => id))], [ada.customer], 'a delete of everything');

  const own = poolFor(t, 'customer');
  const mine = transaction(ofCustomer(own, ada.customer), (tx) => tx.all(rename, { id: ada.customer, name: 'Mine' }));
  t.equal((await mine).length, 1);
  const theirs = transaction(ofCustomer(own, ada.customer), (tx) => tx.all(rename, { id: ben.customer, name: 'Mine' }));
  t.strictSame(await theirs, []);
  await t.rejects(
    transaction(ofCustomer(own, ada.customer), (tx) => tx.all(insert, { customer: ben.customer })),
    { code: 'not_shared' },
  );
});

t.test('statements as the service are alone with their rights', async (t) => {
  const pool = poolFor(t, 'partner');
  const expected = sharedWith(partners[0] ?? '');
  await transaction(ofPartner(pool, 0), async (tx) => {
    const all = await tx.asService(seen);
    t.ok(all.length > expected.length);
    t.strictSame(await seen(tx), expected, 'afterwards');
    const slow = tx.asService(async (free) => {
      await free.all(nap, { seconds: 0.05 });
      await sleep(20);
      return free.all(whoAmI);
    });
    t.strictSame(await seen(tx), expected, 'while work as the service is under way');
    t.strictSame(await slow, [{ name: serviceRole }]);
    const attempted = await tx.attempt(() => tx.asService((free) => free.all(divide, { by: 0 })));
    t.notOk(attempted.ok);
    t.strictSame(await seen(tx), expected, 'after work as the service that was undone');
    t.strictSame(await tx.all(whoAmI), [{ name: scopedRoles.partner }]);
    const held = await tx.pipelinedAfter(Promise.resolve(), (behind) =>
      Promise.all([behind.asService(seen), seen(behind)]),
    );
    t.strictSame(held, [all, expected], 'behind a gate');
    tx.asService((free) => free.pipeline(rename, { id: cleo.customer, name: 'By the service' }));
  });
  t.match((await admin.query('select name from customers where id = $1', [cleo.customer])).rows, [
    { name: 'By the service' },
  ]);
  const statements = await transaction(openPoolOf(t), async (tx) => [tx.asService((same) => same === tx)]);
  t.strictSame(statements, [true], 'a token that is not scoped pays nothing');
});

function openPoolOf(t: Pick<Test, 'teardown'>): pg.Pool {
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  return pool;
}

t.test('ids that are none are no scopedTo', async (t) => {
  for (const id of ['', "' or true --", 'x', `${ada.customer} `, "0'; reset role; --"]) {
    t.throws(() => new ScopedPool(openPoolOf(t), { kind: 'partner', id }), TypeError);
  }
});

t.test('rights come with the migrations, and come back when somebody has changed them', async (t) => {
  const { connection } = await emptyDatabase(t);
  const notes: string[] = [];
  const options = {
    folder: migrationsFolder,
    access: policies,
    note: (message: string) => void notes.push(message),
  };
  await Promise.all([1, 2, 3].map(() => migrate(connection, options)));
  t.equal(notes.filter((note) => note.includes('rights')).length, 1, 'one of three does it');
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  t.notOk(await accessPending(client, policies));
  for (const change of [
    `revoke select on orders from ${serviceRole}`,
    `drop policy rapport_partner_select on orders`,
    'alter table orders no force row level security',
    `grant update on audit_entries to ${serviceRole}`,
    'create table graphile_worker.later ()',
  ]) {
    await client.query(change);
    t.ok(await accessPending(client, policies), change);
    await migrate(connection, options);
    t.notOk(await accessPending(client, policies), `after: ${change}`);
  }
  const fewer = policies.filter(({ table }) => getTableName(table) !== 'orders');
  await migrate(connection, { ...options, access: fewer });
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  await t.rejects(pool.query('select from orders'), { code: '42501' }, 'what is not in the list nobody may touch');
  await client.query(`insert into drizzle.__drizzle_migrations (hash, created_at) values ('later', 99999999999999)`);
  await migrate(connection, options);
  await t.rejects(pool.query('select from orders'), { code: '42501' }, 'what a newer version said stands');
});

t.test('an account that may not make roles says what to run, and needs nothing more than that', async (t) => {
  const { connection } = await emptyDatabase(t);
  await migrate(connection, { folder: migrationsFolder });
  const client = new pg.Client(connection);
  await client.connect();
  const login = uniqueName('rapport_login');
  // An owner of the tables with no other rights.
  await client.query(`create role ${login}; grant all on schema public, drizzle, graphile_worker, feed to ${login};
    do $$ declare t regclass; f regprocedure; begin
      for f in select oid from pg_proc where pronamespace = 'feed'::regnamespace loop execute format('alter function %s owner to ${login}', f); end loop;
      for t in select c.oid from pg_class c where c.relkind in ('r', 'p', 'v', 'S') and relnamespace in (
        'public'::regnamespace, 'drizzle'::regnamespace, 'graphile_worker'::regnamespace, 'feed'::regnamespace
      ) and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
      loop execute format('alter table %s owner to ${login}', t); end loop;
    end $$`);
  await client.query(`set session authorization ${login}`);
  await t.rejects(applyAccess(client, policies), {
    name: 'AccessError',
    message: /administrator.*GRANT rapport_service, rapport_partner, rapport_customer TO/s,
  });
  await client.query(
    `reset session authorization; grant rapport_service, rapport_partner, rapport_customer to ${login}`,
  );
  await client.query(`set session authorization ${login}`);
  await applyAccess(client, policies);
  t.notOk(await accessPending(client, policies));
  await client.query(
    `insert into customers (id, version, kind, created_at, updated_at) values (gen_random_uuid(), 1, 'person', now(), now())`,
  );
  t.equal(
    (await client.query('select from customers')).rowCount,
    1,
    'the owner, whom the policies hold as well, sees all',
  );
  for (const [role, count] of [
    [serviceRole, 1],
    [scopedRoles.partner, 0],
    [scopedRoles.customer, 0],
  ] as const) {
    await client.query(`set role ${role}`);
    t.equal((await client.query('select from customers')).rowCount, count, role);
  }
  await client.query(`reset session authorization; reset role; reassign owned by ${login} to current_user`);
  await client.query(`drop owned by ${login}; drop role ${login}`);
  await client.end();
});

t.test('a refusal by policy says nothing of the table', async (t) => {
  const pool = poolFor(t, 'partner');
  const refused = await transaction(ofPartner(pool, 0), (tx) => tx.all(rename, { id: ben.customer, name: 'x' })).catch(
    (error: unknown) => error,
  );
  t.ok(refused instanceof Problem);
  t.notMatch(String(refused), /row-level|customers|policy|rapport_/);
});
