import { randomUUID } from 'node:crypto';
import pg from 'pg';
import t from 'tap';
import { confinement } from '../../src/confinement.ts';
import { openPool, poolDb, transaction } from '../../src/platform/db/client.ts';
import { ConfinedPool } from '../../src/platform/db/confined.ts';
import { testDatabase } from '../support/database.ts';

const { connection } = await testDatabase(t);
const owner = new pg.Client(connection);
await owner.connect();
t.teardown(() => owner.end());

t.test('every table of the database is in the list', async (t) => {
  const { rows } = await owner.query(`select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`);
  t.ok(rows.length > 40);
});
