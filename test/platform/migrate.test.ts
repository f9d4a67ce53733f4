import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import t, { type Test } from 'tap';
import { assertDurable, MigrationError, migrate, pendingMigrations } from '../../src/platform/db/migrate.ts';
import { emptyDatabase } from '../support/database.ts';
import { migrationsFolder } from '../support/server.ts';

/** Writes a migrations folder: names in order, each with its SQL. */
function writeMigrations(folder: string, migrations: Record<string, string>, firstMadeAt = 1_000): void {
  mkdirSync(join(folder, 'meta'), { recursive: true });
  const entries = Object.entries(migrations).map(([tag, sql], idx) => {
    writeFileSync(join(folder, `${tag}.sql`), sql);
    return { idx, version: '7', when: firstMadeAt + idx, tag, breakpoints: true };
  });
  writeFileSync(
    join(folder, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  );
}

/** A client on the database, closed with the test. */
async function connected(t: Test, connection: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  return client;
}

t.test('replicas that start at the same moment apply every migration exactly once', async (t) => {
  const { connection } = await emptyDatabase(t);
  const notes: string[] = [];
  const replicas = Array.from({ length: 4 }, () =>
    migrate(connection, { folder: migrationsFolder, note: (message) => notes.push(message) }),
  );
  await Promise.all(replicas);
  const client = await connected(t, connection);
  const applied = await client.query('SELECT hash FROM drizzle.__drizzle_migrations');
  t.equal(new Set(applied.rows.map(({ hash }) => hash)).size, applied.rowCount, 'no migration is recorded twice');
  t.ok((applied.rowCount ?? 0) > 0);
  t.same(await pendingMigrations(client, migrationsFolder), []);
  t.equal(notes.length, 1, 'one of them did the work');
});

t.test('replicas that race for a migration that cannot run twice all start', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, {
    '0000_slow': 'CREATE TABLE counted (n int); SELECT pg_sleep(0.3); INSERT INTO counted VALUES (1);',
  });
  await Promise.all([
    migrate(connection, { folder }),
    migrate(connection, { folder }),
    migrate(connection, { folder }),
  ]);
  const client = await connected(t, connection);
  t.same((await client.query('SELECT n FROM counted')).rows, [{ n: 1 }]);
});

t.test('a database says which migrations it has not seen', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();' });
  const client = await connected(t, connection);
  t.same(await pendingMigrations(client, folder), ['0000_first'], 'in an empty database, all');
  await migrate(connection, { folder });
  t.same(await pendingMigrations(client, folder), []);
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();', '0001_second': 'CREATE TABLE b ();' });
  t.same(await pendingMigrations(client, folder), ['0001_second']);
  await migrate(connection, { folder });
  t.same(await pendingMigrations(client, folder), []);
});

t.test('an older version works on a database that a newer one has migrated', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();', '0001_second': 'CREATE TABLE b ();' });
  await migrate(connection, { folder });
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();' });
  await migrate(connection, { folder });
  t.same(await pendingMigrations(await connected(t, connection), folder), []);
});

t.test('a migration that fails leaves nothing behind, not even those before it', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();', '0001_wrong': 'CREATE TABLE b (); SELECT 1 / 0;' });
  await t.rejects(migrate(connection, { folder }), { name: 'MigrationError', message: /division by zero/ });
  const client = await connected(t, connection);
  t.same(await pendingMigrations(client, folder), ['0000_first', '0001_wrong']);
  t.same((await client.query("SELECT to_regclass('a') AS a, to_regclass('b') AS b")).rows, [{ a: null, b: null }]);
});

t.test('an applied migration whose file has changed is refused', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a ();' });
  await migrate(connection, { folder });
  writeMigrations(folder, { '0000_first': 'CREATE TABLE a (b int);' });
  await t.rejects(migrate(connection, { folder }), { name: 'MigrationError', message: /0000_first/ });
});

t.test('a migration made before the newest applied one is refused, not skipped in silence', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  writeMigrations(folder, { '0001_newer': 'CREATE TABLE a ();' }, 2_000);
  await migrate(connection, { folder });
  writeMigrations(folder, { '0000_older': 'CREATE TABLE b ();' });
  await t.rejects(migrate(connection, { folder }), { name: 'MigrationError', message: /0000_older/ });
});

t.test('a folder without a journal is refused', async (t) => {
  const { connection } = await emptyDatabase(t);
  await t.rejects(migrate(connection, { folder: t.testdir() }), MigrationError);
});

t.test('a migration that meets a locked table gives way to the readers behind it, then succeeds', async (t) => {
  const { connection } = await emptyDatabase(t);
  const folder = t.testdir();
  const holder = await connected(t, connection);
  await holder.query('CREATE TABLE busy ()');
  await holder.query('BEGIN; SELECT FROM busy');
  writeMigrations(folder, { '0000_alter': 'ALTER TABLE busy ADD COLUMN n int;' });
  const migrated = migrate(connection, { folder });
  const observer = await connected(t, connection);
  // Until the first attempt has given up; then the table is free for the next one.
  const waiting = "SELECT FROM pg_locks WHERE relation = 'busy'::regclass AND NOT granted";
  while ((await observer.query(waiting)).rowCount === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  while ((await observer.query(waiting)).rowCount !== 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await holder.query('COMMIT');
  await migrated;
  t.same(await pendingMigrations(observer, folder), []);
});

t.test('a server that may lose acknowledged writes is refused unless that is allowed', async (t) => {
  const { connection } = await emptyDatabase(t);
  const client = await connected(t, { ...connection, options: '-c synchronous_commit=off' });
  const refusal = { name: 'UnsafeDatabaseError', message: /synchronous_commit.*RAPPORT_ALLOW_UNSAFE_DATABASE/ };
  await t.rejects(assertDurable(client, { allowUnsafe: false }), refusal);
  await t.resolves(assertDurable(client, { allowUnsafe: true }));
});
