import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { obstaclesOf } from './profile.ts';
import { partiesOf } from './queries.ts';
import { customerMerges } from './record.ts';

/** Somebody who is known by a reference alone gives the e-mail of a customer. */
export interface Recognition {
  visitorId: string;
  customerId: string;
}

export function recognition({ visitorId, customerId }: Recognition): string {
  return `${visitorId} ${customerId}`;
}

/**
 * The visitors among the customers of a set of messages, each with whoever may have an e-mail that it gives: the owner, and the
 * customers of messages that give it as well, as an earlier message may have brought it. With itself for the e-mail of a customer
 * that an earlier message makes.
 *
 * @param messages the customers of their references, and the keys of their e-mails
 */
export function recognitionsAmong(
  messages: readonly { id: string | undefined; emails: readonly string[] }[],
  owners: ReadonlyMap<string, string>,
  isVisitor: (id: string) => boolean,
): Recognition[] {
  const having = new Map<string, Set<string>>();
  for (const { id, emails } of messages) {
    for (const email of emails) {
      const ids = having.get(email) ?? new Set();
      for (const one of [owners.get(email), id]) if (one !== undefined) ids.add(one);
      having.set(email, ids);
    }
  }
  return messages.flatMap(({ id: visitorId, emails }) => {
    if (visitorId === undefined || !isVisitor(visitorId)) return [];
    const customers = new Set(emails.flatMap((email) => [...(having.get(email) ?? [])]));
    return [...customers].map((customerId) => ({ visitorId, customerId }));
  });
}

const refused = statement<Recognition>(
  'visitors_with_history',
  sql`select n."visitorId", n."customerId" from json_to_recordset(${param('pairs')}::json) as n("visitorId" uuid, "customerId" uuid)
    where exists (select from orders o where o.customer_id = n."visitorId")
      or exists (select from ${customerMerges} m where m.customer_id = n."customerId" and m.merged_id = n."visitorId" and m.undone_at is not null)`,
);

/**
 * Which of these are merged by themselves (`recognition`): not who has bought something, whose merge somebody has undone, or who
 * cannot be merged. All of them are locked.
 */
export async function recognisable(tx: Transaction, pairs: readonly Recognition[]): Promise<Set<string>> {
  if (pairs.length === 0) return new Set();
  const ids = pairs.flatMap(({ visitorId, customerId }) => [visitorId, customerId]);
  const [no, parties] = await Promise.all([
    tx.all(refused, { pairs: JSON.stringify(pairs) }),
    partiesOf(tx, [...new Set(ids)]),
  ]);
  const without = new Set(no.map(recognition));
  return new Set(
    pairs
      .filter((pair) => {
        const survivor = parties.get(pair.customerId);
        const other = parties.get(pair.visitorId);
        return survivor && other && obstaclesOf({ survivor, other }).length === 0 && !without.has(recognition(pair));
      })
      .map(recognition),
  );
}
