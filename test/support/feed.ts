import { getTableName } from 'drizzle-orm';
import pg from 'pg';
import { feedKinds } from '../../src/records/feed.ts';
import { columnNamed } from '../../src/records/table.ts';
import type { TestApp } from './app.ts';
import '../../src/definitions.ts';

/** A reader of the change feed, and what it ought to read: the difference between all tables of records before and after. */

export interface FeedEvent {
  id: string;
  type: string;
  occurredAt: string;
  record: { kind: string; id: string; version?: number };
  customerId: string | null;
  changed: string[];
  current?: Record<string, any>;
}

type Reading = NonNullable<Parameters<TestApp['request']>[2]>;

export async function position(api: TestApp, options: Reading = {}): Promise<string> {
  const { status, body } = await api.request('GET', '/v1/events/position', options);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body.position;
}

/** All that follow a cursor, and where to go on. */
export async function follow(
  api: TestApp,
  after: string | null,
  query = '',
  options: Reading = {},
): Promise<{ events: FeedEvent[]; next: string }> {
  const events: FeedEvent[] = [];
  for (let cursor = after; ; ) {
    const from = cursor === null ? '' : `&after=${encodeURIComponent(cursor)}`;
    const { status, body } = await api.request('GET', `/v1/events?limit=100${from}${query}`, options);
    if (status !== 200) throw new Error(JSON.stringify(body));
    events.push(...body.data);
    cursor = body.page.next;
    if (!body.page.hasMore) return { events, next: body.page.next };
  }
}

/** Every row of every kind, by kind and id: what is told of it, as text. */
export type Rows = ReadonlyMap<string, string>;

export async function rowsOf({ connection }: Pick<TestApp, 'connection'>): Promise<Rows> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    const rows = new Map<string, string>();
    for (const { table, fields, key, owner, feed } of feedKinds()) {
      const members = 'id' in fields ? ['id'] : key;
      const id = members.map((member) => `"${columnNamed(table, member).name}"::text`).join(" || '/' || ");
      const told = Object.entries(fields)
        .filter(([, { spec }]) => spec.output !== null)
        .map(([member]) => `"${columnNamed(table, member).name}"`);
      const found = await client.query<{ id: string; row: string }>(
        `select ${id} as id, (select to_jsonb(t)::text from (select ${told.join(', ')}) t) as row from ${getTableName(table)}
         ${owner === 'id' ? "where id < 'ffffffff-0000-0000-0000-000000000000'" : ''}`,
      );
      for (const one of found.rows) rows.set(`${feed.kind} ${one.id}`, one.row);
    }
    return rows;
  } finally {
    await client.end();
  }
}

/** What was made, changed and removed: `order.updated 01a2…`, once each. */
export function differences(before: Rows, after: Rows): string[] {
  const found: string[] = [];
  const say = (name: string, what: string) => found.push(name.replace(' ', `.${what} `));
  for (const [name, row] of after) {
    const former = before.get(name);
    if (former === undefined) say(name, 'created');
    else if (former !== row) say(name, 'updated');
  }
  for (const name of before.keys()) if (!after.has(name)) say(name, 'deleted');
  return found.sort();
}

/** Events in the same words: what is told of a customer beyond coming, changing and going is one of these. */
export function asDifferences(events: readonly FeedEvent[]): string[] {
  const words: Readonly<Record<string, string>> = { merged: 'deleted', unmerged: 'created', erased: 'updated' };
  return events
    .map(({ type, record: { kind, id } }) => {
      const what = type.slice(kind.length + 1);
      return `${kind}.${words[what] ?? what} ${id}`;
    })
    .sort();
}
