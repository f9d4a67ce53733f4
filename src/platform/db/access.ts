import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { getTableName } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { scopedRoles, serviceRole } from './client.ts';
import { scopeSetting } from './scoped-pool.ts';

/**
 * Who may touch a table.
 * `owner`: rows belong to customers, by `owner`; scoped roles see and change those of theirs.
 * `configuration`: the same for everybody; scoped roles read it.
 * `service`: the service alone.
 * `append`: the service alone, which adds and reads, and can neither change nor delete.
 * `partner`: rows belong to a partner (`partner_id`) or to nobody; partner tokens see and change those of theirs.
 * `shares`: which customers (`owner`) are shared with which partner (its columns `partner_id` and `writable`); the
 * policies of the others ask it.
 */
export interface TableAccess {
  table: PgTable;
  access: 'owner' | 'configuration' | 'service' | 'append' | 'partner' | 'shares';
  /** The column with the customer's id. */
  owner?: string;
  /** Statements that make its triggers, whose names begin with `feed_`, and their functions, in the schema `feed`. */
  triggers?: readonly string[];
}

/** What the account of the service may not do and somebody else has to; the message says it. */
export class AccessError extends Error {
  override name = 'AccessError';
}

const roles = [serviceRole, scopedRoles.partner, scopedRoles.customer];
const everything = 'SELECT, INSERT, UPDATE, DELETE';
const ATTEMPTS = 6;

/** The id that the transaction is scoped to. Once set on a connection, an absent setting reads as an empty text. */
const scopedId = (kind: keyof typeof scopeSetting) =>
  `(SELECT nullif(current_setting('${scopeSetting[kind]}', true), '')::uuid)`;

/**
 * What a partner's policies ask of a row. Whose shares are looked at, the policy of the table of shares itself says: to
 * ask here as well would double what a read by id pays. A scalar subquery and no EXISTS: Postgres always answers it by
 * one look-up per row it has come to, and never thinks of reading all shares of the partner first.
 */
function shareOf({ table, owner }: TableAccess) {
  return (what: 'true' | 's.writable', customer: string) =>
    `(SELECT ${what} FROM ${getTableName(table)} s WHERE s.${owner} = ${customer})`;
}

/** The definitions of all tables; can be repeated. Policies and grants that the list no longer has are removed. */
export function accessDefinitions(tables: readonly TableAccess[]): string[] {
  const shares = tables.find(({ access }) => access === 'shares');
  if (!shares) throw new TypeError('No table says what is shared with partners');
  const share = shareOf(shares);
  return [...tables.flatMap(definitionsOf), ...feedDefinitions(share)];

  function definitionsOf({ table, access, owner, triggers = [] }: TableAccess): string[] {
    const name = quoted(getTableName(table));
    const policy = (role: string, commands: string, clauses: string) =>
      `CREATE POLICY ${quoted(`${role}_${commands.toLowerCase()}`)} ON ${name} FOR ${commands} TO ${role} ${clauses}`;
    const secured = access === 'owner' || access === 'shares' || access === 'partner';
    const definitions = [
      ...(secured
        ? [
            `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`,
            `ALTER TABLE ${name} FORCE ROW LEVEL SECURITY`,
            policy(serviceRole, 'ALL', 'USING (true) WITH CHECK (true)'),
          ]
        : [`ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY`, `ALTER TABLE ${name} NO FORCE ROW LEVEL SECURITY`]),
      `GRANT ${access === 'append' ? 'SELECT, INSERT' : everything} ON ${name} TO ${serviceRole}`,
    ];
    if (access === 'configuration') {
      definitions.push(`GRANT SELECT ON ${name} TO ${scopedRoles.partner}, ${scopedRoles.customer}`);
    }
    if (access === 'partner') {
      const own = `(partner_id = ${scopedId('partner')})`;
      definitions.push(
        `GRANT ${everything} ON ${name} TO ${scopedRoles.partner}`,
        policy(scopedRoles.partner, 'ALL', `USING ${own} WITH CHECK ${own}`),
      );
    }
    if (access === 'shares') {
      definitions.push(
        `GRANT SELECT ON ${name} TO ${scopedRoles.partner}`,
        policy(scopedRoles.partner, 'SELECT', `USING (partner_id = ${scopedId('partner')})`),
      );
    }
    if (access === 'owner') {
      if (owner === undefined) throw new TypeError(`Whose are the rows of ${name}?`);
      const column = `${name}.${quoted(owner)}`;
      const seen = `USING (${share('true', column)})`;
      const changeable = `(${share('s.writable', column)})`;
      const own = `(${column} = ${scopedId('customer')})`;
      definitions.push(
        `GRANT ${everything} ON ${name} TO ${scopedRoles.partner}, ${scopedRoles.customer}`,
        policy(scopedRoles.partner, 'SELECT', seen),
        policy(scopedRoles.partner, 'INSERT', `WITH CHECK ${changeable}`),
        // What is seen and not to be changed is refused and not passed over in silence: hence two conditions.
        policy(scopedRoles.partner, 'UPDATE', `${seen} WITH CHECK ${changeable}`),
        policy(scopedRoles.partner, 'DELETE', `USING ${changeable}`),
        policy(scopedRoles.customer, 'ALL', `USING ${own} WITH CHECK ${own}`),
      );
    }
    return [...definitions, ...triggers];
  }
}

/**
 * The change feed, which is written by triggers and by nobody else. Scoped roles read what is about their customers, as they are now: a
 * partner also hears when sharing begins and ends.
 */
function feedDefinitions(share: ReturnType<typeof shareOf>): string[] {
  const policy = (role: string, condition: string) =>
    `CREATE POLICY ${quoted(`${role}_select`)} ON feed.events FOR SELECT TO ${role} USING (${condition})`;
  const everybody = 'reader = feed.everybody()';
  const partner = scopedId('partner');
  const customer = scopedId('customer');
  return [
    `GRANT USAGE ON SCHEMA feed TO ${roles.join(', ')}`,
    `GRANT SELECT ON feed.events TO ${roles.join(', ')}`,
    `REVOKE EXECUTE ON FUNCTION feed.tend FROM PUBLIC`,
    `GRANT EXECUTE ON FUNCTION feed.tend TO ${serviceRole}`,
    `ALTER TABLE feed.events ENABLE ROW LEVEL SECURITY`,
    policy(serviceRole, everybody),
    policy(
      scopedRoles.partner,
      `reader = ${partner} OR (${everybody} AND (${share('true', 'events.customer_id')} OR ${share('true', 'events.former_customer_id')}))`,
    ),
    policy(scopedRoles.customer, `${everybody} AND ${customer} IN (customer_id, former_customer_id)`),
  ];
}

function quoted(name: string): string {
  return `"${name}"`;
}

/** Definitions that change what is there, whatever tables there are. */
const schemaDefinitions = [
  `GRANT USAGE ON SCHEMA public, drizzle, graphile_worker TO ${serviceRole}`,
  `GRANT USAGE ON SCHEMA public TO ${scopedRoles.partner}, ${scopedRoles.customer}`,
  `GRANT SELECT ON ALL TABLES IN SCHEMA drizzle TO ${serviceRole}`,
  `GRANT ${everything} ON ALL TABLES IN SCHEMA graphile_worker TO ${serviceRole}`,
  `GRANT USAGE ON ALL SEQUENCES IN SCHEMA graphile_worker TO ${serviceRole}`,
  `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA graphile_worker TO ${serviceRole}`,
];

const settingKey = 'ACCESS';

const stateQuery = `SELECT md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")) AS catalog FROM (
    SELECT concat_ws(' ', t.tgrelid::regclass, t.tgname, t.tgenabled, md5(pg_get_functiondef(t.tgfoid))) AS line
      FROM pg_trigger t WHERE t.tgname LIKE 'feed\\_%'
    UNION ALL
    SELECT concat_ws(' ', n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity) AS line
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname IN ('public', 'drizzle', 'graphile_worker')
    UNION ALL
    SELECT concat_ws(' ', p.tablename, p.policyname, p.roles::text, p.cmd)
      FROM pg_policies p WHERE p.schemaname IN ('public', 'feed')
    UNION ALL
    SELECT concat_ws(' ', n.nspname, c.relname, r.rolname, a.privilege_type)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
      WHERE n.nspname IN ('public', 'drizzle', 'graphile_worker') AND r.rolname = ANY ($1)
  ) AS state`;

type Client = Pick<pg.ClientBase, 'query'>;

/** What the database was given and how it stands: differs when the list has changed, or somebody changed the database. */
async function stateOf(client: Client, tables: readonly TableAccess[]): Promise<string> {
  const definitions = JSON.stringify([schemaDefinitions, accessDefinitions(tables)]);
  const { rows } = await client.query<{ catalog: string }>(stateQuery, [roles]);
  return `${createHash('sha256').update(definitions).digest('hex')} ${rows[0]?.catalog}`;
}

/** Whether roles, grants or policies are missing. Needs no right but to read. */
export async function accessPending(client: Client, tables: readonly TableAccess[]): Promise<boolean> {
  if ((await missingRoles(client)).length > 0) return true;
  const { rows } = await client.query<{ value: string }>('SELECT value FROM deployment_settings WHERE key = $1', [
    settingKey,
  ]);
  return rows[0]?.value !== (await stateOf(client, tables));
}

/** Those that do not exist, or that the account may not become. */
async function missingRoles(client: Client): Promise<string[]> {
  // Postgres 16 tells apart who may become a role and who belongs to it.
  const { rows } = await client.query<{ name: string }>(
    `SELECT name FROM unnest($1::text[]) AS name
     WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = name AND pg_has_role(session_user, r.oid,
       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END))`,
    [roles],
  );
  return rows.map(({ name }) => name);
}

/**
 * Makes the roles of the service and gives them their rights, by the list, in one transaction; the caller holds the lock
 * of the migrations. Roles belong to the whole server: other databases may be making them at this moment.
 *
 * @throws AccessError when the account may not make roles, or not become them
 */
export async function applyAccess(client: Client, tables: readonly TableAccess[]): Promise<void> {
  await makeRoles(client);
  // A definition that waits for a table makes every later reader wait behind it: give up early, let them pass, retry.
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.query("BEGIN; SET LOCAL lock_timeout = '3s'");
      for (const definition of await revocations(client)) await client.query(definition);
      await client.query([...schemaDefinitions, ...accessDefinitions(tables)].join(';\n'));
      await client.query(
        'INSERT INTO deployment_settings VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
        [settingKey, await stateOf(client, tables)],
      );
      await client.query('COMMIT');
      return;
    } catch (error) {
      await client.query('ROLLBACK');
      const busy = error instanceof pg.DatabaseError && (error.code === '55P03' || error.code === '40P01');
      if (!busy || attempt === ATTEMPTS) throw error;
      await sleep(1000 * attempt);
    }
  }
}

/** Takes away all that was given before. */
async function revocations(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ definition: string }>(
    `SELECT format('DROP POLICY %I ON %I.%I', policyname, schemaname, tablename) AS definition
       FROM pg_policies WHERE schemaname IN ('public', 'feed') AND policyname LIKE 'rapport\\_%'
     UNION ALL
     SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE tgname LIKE 'feed\\_%'
     UNION ALL
     SELECT format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM ${roles.join(', ')}', nspname)
       FROM pg_namespace WHERE nspname IN ('public', 'drizzle', 'graphile_worker')`,
  );
  return rows.map(({ definition }) => definition);
}

async function makeRoles(client: Client): Promise<void> {
  const missing = await missingRoles(client);
  if (missing.length === 0) return;
  try {
    for (const role of missing) {
      const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role]);
      if (rowCount === 0) await alone(() => client.query(`CREATE ROLE ${role} NOLOGIN`));
    }
    for (const role of await missingRoles(client)) await alone(() => client.query(membership(role)));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new AccessError(
      `The roles of the service are not complete, and its account cannot make them (${reason}). As an administrator run: ` +
        `${missing.map((role) => `CREATE ROLE ${role} NOLOGIN;`).join(' ')} (those that do not exist) and ` +
        `GRANT ${roles.join(', ')} TO <the account>; then start again.`,
    );
  }
}

function membership(role: string): string {
  return `GRANT ${role} TO SESSION_USER`;
}

/** 42710 and 23505: another process made the role; XX000: it changes the same row of the catalog at this moment. */
async function alone(work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await work();
      return;
    } catch (error) {
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      if (code === '42710' || code === '23505') return;
      if (code !== 'XX000' || attempt === ATTEMPTS) throw error;
      await sleep(50 * attempt);
    }
  }
}
