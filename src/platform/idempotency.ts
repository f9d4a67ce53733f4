import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { boolean, index, pgTable, primaryKey, smallint, text } from 'drizzle-orm/pg-core';
import { type Db, insertRow, param, statement, type Transaction } from './db/client.ts';
import { code, instant } from './db/columns.ts';
import { declareConflicts } from './db/conflicts.ts';
import { Problem } from './errors.ts';

/**
 * Responses kept for retries, written in the transaction of the operation. The body is text, not jsonb, because a replay
 * is byte-identical and jsonb reorders members. What a client may see is part of the key.
 */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    client: code('client').notNull(),
    operation: code('operation').notNull(),
    personal: boolean('personal').notNull(),
    key: code('key').notNull(),
    fingerprint: text('fingerprint').notNull(),
    status: smallint('status').notNull(),
    body: text('body').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.client, t.operation, t.personal, t.key] }),
    index('idempotency_keys_created').on(t.createdAt),
  ],
);
declareConflicts({ idempotency_keys_client_operation_personal_key_pk: 'already_exists' });

interface Key {
  client: string;
  operation: string;
  personal: boolean;
  key: string;
  fingerprint: string;
}

/** Identity of a payload: parsed input, so that white space and member order do not matter. */
export function fingerprint(input: object): string {
  return createHash('sha256').update(JSON.stringify(input)).digest('base64');
}

const ofKey = sql`k.client = ${param('client')}::text and k.operation = ${param('operation')}::text
  and k.personal = ${param('personal')}::boolean and k.key = ${param('key')}::text`;

// The lock refuses a concurrent call at once; waiting for its insert would hold the connection.
const claim = statement<{ free: boolean }>(
  'claim_key',
  sql`select pg_try_advisory_xact_lock(hashtextextended(concat_ws(chr(31), ${param('client')}::text, ${param('operation')}::text, ${param('personal')}::boolean::text, ${param('key')}::text), 7)) as free`,
);

// A statement of its own, sent together with it: a snapshot older than the lock may lack what the holder before committed,
// and the operation would then meet its own first run (`already_exists`).
const answerOf = statement<{ fingerprint: string; status: number; body: string }>(
  'stored_answer',
  sql`select k.fingerprint, k.status, k.body from ${idempotencyKeys} k where ${ofKey}`,
);

/** Ends an operation that was done before under its key: the response is the one from then. */
export class Replay extends Error {
  readonly answer: { status: number; body: string };

  constructor(answer: Replay['answer']) {
    super('done before');
    this.answer = answer;
  }
}

/** Resolves when the caller is the first to use the key. @throws Replay; Problem when the key is in flight or reused */
export async function claimKey(tx: Transaction, key: Key): Promise<void> {
  const [claimed, found] = await Promise.all([
    tx.first(claim, { ...key }),
    tx.asService((service) => service.first(answerOf, { ...key })),
  ]);
  if (found) {
    if (found.fingerprint !== key.fingerprint) {
      throw new Problem(
        'idempotency_key_reused',
        'This Idempotency-Key was used with another payload. Use a new key for a new operation.',
        {
          errors: [{ parameter: 'Idempotency-Key', code: 'reused', message: 'Used before with another payload.' }],
        },
      );
    }
    throw new Replay({ status: found.status, body: found.body });
  }
  if (!claimed?.free) {
    throw new Problem(
      'idempotency_key_in_flight',
      'A request with this Idempotency-Key is being worked on. Ask again in a moment.',
      {
        headers: { 'Retry-After': '1' },
      },
    );
  }
}

const keyInsert = insertRow(idempotencyKeys);
const store = statement('store_answer', keyInsert.sql);

export function storeAnswer(tx: Transaction, key: Key, answer: { status: number; body: string }, now: string): void {
  tx.asService((service) => service.pipeline(store, keyInsert.values({ ...key, ...answer, createdAt: now })));
}

// In the order of the index: without one the planner may read the whole table for the first 5,000 it meets.
const forget = statement<{ forgotten: number }>(
  'forget_answers',
  sql`with gone as (delete from ${idempotencyKeys} where ctid in (
      select ctid from ${idempotencyKeys} where ${idempotencyKeys.createdAt} < ${param('before')}::timestamptz
        order by ${idempotencyKeys.createdAt} limit 5000) returning 1)
    select count(*) as forgotten from gone`,
);

/** Deletes responses older than `before` in small steps; the service runs it every hour. */
export async function forgetAnswers(db: Db, before: string): Promise<number> {
  let total = 0;
  for (;;) {
    const forgotten = (await db.first(forget, { before }))?.forgotten ?? 0;
    total += forgotten;
    if (forgotten < 5_000) return total;
  }
}
