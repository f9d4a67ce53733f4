import pg from 'pg';

/**
 * From now on the database refuses whatever takes a version or `updated_at` back, or puts it before `created_at`: by a
 * trigger on every table that has such columns, whatever the definitions say.
 */
export async function guardStamps(connection: pg.ClientConfig): Promise<number> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    await client.query(`create function guard_stamps() returns trigger language plpgsql as $$
      declare old_row jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) else '{}' end; new_row jsonb := to_jsonb(new);
      begin
        if (new_row ->> 'version')::int < (old_row ->> 'version')::int
          or (new_row ->> 'updated_at')::timestamptz < (old_row ->> 'updated_at')::timestamptz
          or (new_row ->> 'updated_at')::timestamptz < (new_row ->> 'created_at')::timestamptz then
          raise exception 'a stamp of % goes back: % after %', tg_table_name, new_row, old_row;
        end if;
        return new;
      end $$`);
    const { rows } = await client.query<{ name: string }>(
      `select distinct table_name as name from information_schema.columns
       where table_schema = 'public' and column_name in ('version', 'updated_at')`,
    );
    for (const { name } of rows) {
      await client.query(
        `create trigger guard_stamps before insert or update on ${name} for each row execute function guard_stamps()`,
      );
    }
    return rows.length;
  } finally {
    await client.end();
  }
}

interface Stamped {
  id: string;
  version: number;
  createdAt: string;
  updatedAt: string;
}

/** Reads answers one after the other, and tells what in them is wrong with the stamps of records. */
export function stampReader(): (body: unknown) => string[] {
  const seen = new Map<string, Stamped>();
  const read = (value: unknown): string[] => {
    if (typeof value !== 'object' || value === null) return [];
    const inner = Object.values(value).flatMap(read);
    const { id, version, createdAt, updatedAt } = value as Partial<Stamped>; // if it is a record
    if (!id || !version || !createdAt || !updatedAt) return inner;
    const found = { id, version, createdAt, updatedAt };
    const key = [id, ...Object.keys(value)].join();
    const before = seen.get(key);
    seen.set(key, found);
    const isWrong =
      Date.parse(updatedAt) < Date.parse(createdAt) ||
      (before !== undefined &&
        (version < before.version ||
          (version > before.version && Date.parse(updatedAt) < Date.parse(before.updatedAt))));
    return isWrong ? [...inner, `${JSON.stringify(found)} after ${JSON.stringify(before)}`] : inner;
  };
  return read;
}
