import pg from 'pg';

/**
 * A copy of a store with everything about some customers, and about nobody else: what somebody whose token is scoped to them
 * must be unable to tell from the whole. It is made from the catalog, not from what the service says of its tables.
 */

/** Copied as a whole: what is about nobody. */
export const configuration = [
  'assignment_rules',
  'assignment_turns',
  'campaigns',
  'deployment_settings',
  'exchange_rates',
  'import_mappings',
  'lead_models',
  'lead_rule_sets',
  'loyalty_programme_versions',
  'loyalty_programmes',
  'privacy_tombstones',
  'rewards',
  'survey_plans',
  'survey_versions',
  'surveys',
];

/** Not copied: no answer to a scoped token is made of them. */
const leftOut = [
  'audit_entries',
  'client_secrets',
  'clients',
  'customer_merge_records',
  'customer_merges',
  'idempotency_keys',
  'import_blocks',
  'import_errors',
  'imports',
  'retention_rules',
  'retention_runs',
  'segment_members',
  'segment_versions',
  'segments',
  'signing_keys',
  'token_revocations',
  'webhook_positions',
];

/** Whose rows are a partner's own, or the organisation's. */
export const ofPartners = ['webhook_deliveries', 'webhooks'];

/** Columns that may name other customers than the row's own: copied, as scores are made of them, and not to be told. */
const pointers: Record<string, string[]> = {
  customers: ['company_id', 'referred_by', 'acquired_by'],
  loyalty_transactions: ['related_customer_id', 'related_id'],
};

interface Table {
  name: string;
  columns: string[];
  uuids: string[];
}

/** Tables of the service in the order of their names, without columns that are computed. */
export async function tablesOf(client: pg.Client): Promise<Table[]> {
  const { rows } = await client.query<Table>(
    `select table_name as name, json_agg(column_name order by ordinal_position) as columns,
       coalesce(json_agg(column_name order by ordinal_position) filter (where udt_name = 'uuid'), '[]') as uuids
     from information_schema.columns join information_schema.tables using (table_schema, table_name)
     where table_schema = 'public' and table_type = 'BASE TABLE' and is_generated = 'NEVER'
     group by 1 order by 1`,
  );
  return rows;
}

/** How the rows of a table are chosen, as a condition on it; null: none is copied. @throws Error for a table nobody thought of */
export function conditionOf({ name, columns }: Pick<Table, 'name' | 'columns'>): string | null {
  if (leftOut.includes(name)) return null;
  if (configuration.includes(name)) return 'true';
  if (name === 'customers') return 'id = any($1)';
  if (name === 'partners') return 'id = $2';
  if (name.startsWith('partner_')) return 'partner_id = $2 and customer_id = any($1)';
  if (ofPartners.includes(name)) return 'partner_id = $2';
  // References of campaigns are about nobody.
  if (name === 'external_refs') return "customer_id = any($1) or kind = 'campaign'";
  if (columns.includes('customer_id')) return 'customer_id = any($1)';
  throw new Error(`Say whose the rows of the table ${name} are: its customers', or about nobody`);
}

export interface Excerpt {
  customers: readonly string[];
  /** The partner whose record and shares are in it. */
  partner: string | null;
}

/** Fills an empty, migrated database; connections must be those of an account that may write everything. */
export async function copyExcerpt(
  from: pg.ClientConfig,
  to: pg.ClientConfig,
  { customers, partner }: Excerpt,
): Promise<void> {
  const [source, target] = [new pg.Client(from), new pg.Client(to)];
  await Promise.all([source.connect(), target.connect()]);
  try {
    // Rows may point to customers that are not here, and come in any order.
    await target.query('set session_replication_role = replica');
    for (const table of await tablesOf(source)) {
      const condition = conditionOf(table);
      if (condition === null) continue;
      const list = table.columns.join(', ');
      const { rows } = await source.query<{ rows: string }>(
        `select coalesce(json_agg(t), '[]')::text as rows
         from (select ${list} from ${table.name} where (${condition}) and ($1::uuid[] is not null and $2::uuid is not distinct from $2)) t`,
        [customers, partner],
      );
      await target.query(`delete from ${table.name}`);
      await target.query(
        `insert into ${table.name} (${list}) select ${list} from json_populate_recordset(null::${table.name}, $1)`,
        [rows[0]?.rows],
      );
    }
  } finally {
    await Promise.all([source.end(), target.end()]);
  }
}

/** Every UUID in a store but those that name others. */
export async function idsIn(connection: pg.ClientConfig): Promise<Set<string>> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const found = new Set<string>();
    for (const { name, uuids } of await tablesOf(client)) {
      for (const column of uuids.filter((one) => !pointers[name]?.includes(one))) {
        const { rows } = await client.query<{ id: string }>(
          `select distinct ${column} as id from ${name} where ${column} is not null`,
        );
        for (const { id } of rows) found.add(id);
      }
    }
    return found;
  } finally {
    await client.end();
  }
}

/** The records of every table with an id, and whose they are; a customer is its own. */
export async function idsOfRecords(
  connection: pg.ClientConfig,
): Promise<Map<string, { id: string; customer: string }[]>> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const found = new Map<string, { id: string; customer: string }[]>();
    for (const { name, columns } of await tablesOf(client)) {
      const owner = name === 'customers' ? 'id' : 'customer_id';
      if (!columns.includes('id') || !columns.includes(owner)) continue;
      const { rows } = await client.query<{ id: string; customer: string }>(
        `select id, ${owner} as customer from ${name} where ${owner} is not null order by id`,
      );
      found.set(name, rows);
    }
    return found;
  } finally {
    await client.end();
  }
}

/** A hash per table of the rows that are not about the customers: what they do must not change it. */
export async function hashesWithout(
  connection: pg.ClientConfig,
  customers: readonly string[],
): Promise<Record<string, string>> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const hashes: Record<string, string> = {};
    for (const { name, columns } of await tablesOf(client)) {
      const owner = name === 'customers' ? 'id' : 'customer_id';
      if (!columns.includes(owner)) continue;
      const { rows } = await client.query<{ hash: string | null }>(
        `select md5(string_agg(line, '' order by line)) as hash
         from (select t::text as line from ${name} t where ${owner} <> all($1)) as lines`,
        [customers],
      );
      hashes[name] = rows[0]?.hash ?? '';
    }
    return hashes;
  } finally {
    await client.end();
  }
}
