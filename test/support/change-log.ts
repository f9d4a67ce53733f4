import pg from 'pg';
import type { Test } from 'tap';
import { uniqueName } from './server.ts';

export interface ChangeLog {
  /** The tables in which something was committed since the last call, and how many rows: `orders 1, order_items 3`. */
  take(): Promise<Map<string, number>>;
}

/**
 * Notes every row that is inserted, changed or deleted in any table, by triggers, in the transaction that does it: what
 * is rolled back leaves no note. Who has read what is no change, and written a moment later. Sharper than comparing contents, and its cost does not grow with them. Any role may note.
 */
export async function changeLog(t: Pick<Test, 'teardown'>, connection: pg.ClientConfig): Promise<ChangeLog> {
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  const schema = uniqueName('change_log');
  await client.query(`
    create schema ${schema};
    create unlogged table ${schema}.log (name text);
    create function ${schema}.note() returns trigger language plpgsql security definer as $$
      begin
        if tg_table_name = 'audit_entries' and to_jsonb(new) ->> 'kind' = 'read' then return null; end if;
        insert into ${schema}.log values (tg_table_name);
        return null;
      end $$;
    do $$
      declare t record;
      begin
        for t in select oid::regclass as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
          execute format('create trigger change_log after insert or update or delete on %s for each row execute function ${schema}.note()', t.name);
        end loop;
      end $$`);
  return {
    async take() {
      const { rows } = await client.query<{ name: string }>(`delete from ${schema}.log returning name`);
      const counts = new Map<string, number>();
      for (const { name } of rows) counts.set(name, (counts.get(name) ?? 0) + 1);
      return counts;
    },
  };
}
