import { type SQL, sql } from 'drizzle-orm';
import { profileFieldsOf } from '../../domain/lead-score.ts';
import { param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { isErased, noteErased } from '../../records/erased.ts';
import { lazily } from '../../records/lazily.ts';
import { erasure, ownedTables } from '../../records/personal-data.ts';
import { raiseStamps } from '../../records/stamps.ts';
import { lockCustomers } from '../customers/queries.ts';
import { recomputeBounds } from '../lead-scores/bounds.ts';
import type { RuleSetDocument } from '../lead-scores/record.ts';
import { fieldSql } from '../lead-scores/score-sql.ts';
import { addTombstones, identityHash, referenceHash } from './tombstones.ts';

/** What was removed: records by kind. */
export type Removed = Map<string, number>;

/**
 * Erases persons: everything that tells something of them goes, wherever the definitions say there is such a thing; the facts
 * stay with an anonymous customer, so that no metric changes. What they were known by stays as a keyed hash. Nobody is
 * told of it any more: open invitations end and so do their links, and what was to be done about them is cancelled, but
 * for detractors, who are counted as unanswered.
 *
 * @returns those that were there and had not been erased before, and what was removed of all of them
 */
export async function eraseCustomers(
  tx: Transaction,
  context: Pick<Context, 'now' | 'tombstones'>,
  wanted: string[],
): Promise<{ erased: string[]; removed: Removed }> {
  const { now } = context;
  const locked = await lockCustomers(tx, wanted);
  const ids = [...locked.keys()].filter((id) => !isErased(tx, id));
  const removed: Removed = new Map();
  if (ids.length === 0) return { erased: [], removed };
  const note = (kind: string, records: number | undefined) => {
    if (records) removed.set(kind, (removed.get(kind) ?? 0) + records);
  };
  const [names, filled, responses] = await Promise.all([
    tx.all(namesOf, { ids }),
    filledFields(tx, ids),
    tx.first(touchResponses, { ids, now }),
  ]);
  note('surveyResponses', responses?.records);
  const tombstones = names.flatMap(({ customerId, hashed, source, value }) => {
    if (hashed === null) return [];
    const hash =
      hashed === 'reference'
        ? referenceHash(context, { source, externalId: value })
        : identityHash(context, { kind: source, value });
    return [{ hash, customerId, createdAt: now }];
  });
  // Two of them may have shared one.
  await addTombstones(tx, [...new Map(tombstones.map((row) => [row.hash, row])).values()]);
  // Former ids are read from the aliases, which stay.
  const answers = await tx.first(forgetAnswers, {
    ids,
    words: names.flatMap(({ value }) => (value.length < shortestWord ? [] : [value.toLowerCase()])),
  });
  note('storedAnswers', answers?.records);
  for (const { kind, run } of steps()) note(kind, (await tx.first(run, { ids, now }))?.records);
  await tx.all(keepFilled, { rows: JSON.stringify([...filled].map(([id, fields]) => ({ id, fields }))) });
  for (const id of ids) noteErased(tx, id);
  await recomputeBounds(tx, context, ids);
  return { erased: ids, removed };
}

/** Words by which keys of stored answers are recognised: shorter ones are part of too many. */
const shortestWord = 4;

const namesOf = statement<{
  customerId: string;
  hashed: 'identity' | 'reference' | null;
  source: string;
  value: string;
}>(
  'names_to_erase',
  sql`select customer_id as "customerId", 'identity' as hashed, kind as source, value from customer_identities where customer_id = any(${param('ids')}::uuid[])
    -- By one that identifies somebody else they were never found.
    union all select s.customer_id, 'identity', s.kind, s.value from customer_shared_identities s where s.customer_id = any(${param('ids')}::uuid[])
      and not exists (select from customer_identities i where i.kind = s.kind and i.value = s.value)
    union all select record_id, 'reference', source, external_id from external_refs where kind = 'customer' and record_id = any(${param('ids')}::uuid[])
    union all select c.id, null, '', word from customers c, unnest(array[c.name, c.given_name, c.family_name]) word
      where c.id = any(${param('ids')}::uuid[]) and word is not null`,
);

const ruleSets = statement<{ document: RuleSetDocument }>(
  'rule_sets_with_profiles',
  sql`select document from lead_rule_sets where number is not null`,
);

/** Which fields of the profile are filled in that some rules count: funnel health goes on to count them. */
async function filledFields(tx: Transaction, ids: string[]): Promise<Map<string, string[]>> {
  const documents = await tx.all(ruleSets);
  const fields = [...new Set(documents.flatMap(({ document }) => profileFieldsOf(document)))];
  if (fields.length === 0) return new Map();
  const filled = fields.map((field) => sql`case when ${fieldSql(field)} is not null then ${field}::text end`);
  const query = statement<{ id: string; fields: string[] }>(
    'filled_fields',
    sql`select c.id, to_jsonb(array_remove(array[${sql.join(filled, sql`, `)}], null)) as fields
      from customers c left join leads l on l.customer_id = c.id where c.id = any(${param('ids')}::uuid[])`,
    { unprepared: true },
  );
  return new Map((await tx.all(query, { ids })).map((row) => [row.id, row.fields]));
}

const keepFilled = statement(
  'keep_filled_fields',
  sql`update customers c set erased_fields = n.fields
    from json_to_recordset(${param('rows')}::json) as n("id" uuid, "fields" jsonb) where c.id = n.id`,
);

interface Count {
  records: number;
}

/** A statement that says how many records it changed. */
function counted(name: string, change: SQL): Statement<Count> {
  return statement<Count>(name, sql`with changed as (${change} returning 1) select count(*) as records from changed`);
}

// The texts are in a table of their own; who has read the response must not be told that it is as it was.
const touchResponses = counted(
  'touch_erased_responses',
  sql`update survey_responses r set ${raiseStamps('r')}
    where r.customer_id = any(${param('ids')}::uuid[])
      and exists (select from survey_answers a where a.response_id = r.id and a.text is not null)`,
);

const steps = lazily(() => [
  ...ownedTables().flatMap((stored) => {
    const change = erasure(stored);
    return change ? [{ kind: stored.name, run: counted(`erase_${stored.name}`, change) }] : [];
  }),
  ...further,
]);

/** What goes beyond the columns that tell something of the person. */
const further: { kind: string; run: Statement<Count> }[] = [
  {
    kind: 'references',
    run: counted(
      'erase_references',
      sql`delete from external_refs where kind = 'customer' and record_id = any(${param('ids')}::uuid[])`,
    ),
  },
  {
    kind: 'openInvitations',
    run: counted(
      'erase_invitations',
      sql`update survey_invitations set status = 'cancelled', ${raiseStamps('survey_invitations')}
        where customer_id = any(${param('ids')}::uuid[]) and status in ('due', 'sent')`,
    ),
  },
  {
    kind: 'openFollowUps',
    run: counted(
      'erase_follow_ups',
      sql`update follow_ups set status = 'cancelled', closed_at = ${param('now')}::timestamptz, ${raiseStamps('follow_ups')}
        where customer_id = any(${param('ids')}::uuid[]) and status = 'open' and kind <> 'detractor'`,
    ),
  },
];

// An answer that tells something of a person names the customer. Those of batches tell ids and refusals alone: they stay, so
// that a batch which is sent again does not count twice. The key is the caller's, and may be made of a name.
const forgetAnswers = counted(
  'forget_answers_of_erased',
  sql`delete from idempotency_keys k using unnest(array(
        select '%' || id || '%' from unnest(${param('ids')}::uuid[]) id
        union all select '%' || old_id || '%' from customer_aliases where customer_id = any(${param('ids')}::uuid[])
      ), ${param('words')}::text[]) as known(of_body, of_key)
    where k.body like known.of_body or position(known.of_key in lower(k.key)) > 0`,
);
