import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import type { OpenAccount } from './account.ts';
import type { PointsSource, SourceHistory, TakenLot } from './ledger.ts';

/** What was moved so far, for an order or a bonus. */

const histories = statement<SourceHistory & { customerId: string; source: string }>(
  'loyalty_source_histories',
  sql`select n."customerId", n."source", coalesce(sum(t.points), 0)::bigint as net, coalesce(sum(x.expired), 0)::bigint as expired
    from json_to_recordset(${param('sources')}::json) as n("customerId" uuid, "source" text, "orderId" uuid, "bonusKey" text)
    join loyalty_transactions t on t.customer_id = n."customerId"
      and t.kind in ('earn', 'bonus', 'reverse') and (t.order_id = n."orderId" or t.bonus_key = n."bonusKey")
    left join lateral (
      select -sum(e.points) as expired from loyalty_entries credit
      join loyalty_entries e on e.customer_id = credit.customer_id and e.lot_id = credit.lot_id
      join loyalty_transactions et on et.customer_id = e.customer_id and et.id = e.transaction_id and et.kind = 'expire'
      where credit.customer_id = t.customer_id and credit.transaction_id = t.id and credit.points > 0 and credit.lot_id is not null
    ) x on true
    group by 1, 2`,
);

/** One key per source, for `sourceHistories`. */
export function sourceKey(customerId: string, source: PointsSource): string {
  return `${customerId} ${'orderId' in source ? source.orderId : source.bonusKey}`;
}

/**
 * What was moved for these orders and bonuses so far, by `sourceKey`, with what opening the accounts and planning have
 * added; a source without a transaction is not there. One statement.
 */
export async function sourceHistories(
  tx: Transaction,
  wanted: readonly { account: OpenAccount; source: PointsSource }[],
): Promise<Map<string, SourceHistory>> {
  const found = new Map<string, SourceHistory>();
  if (wanted.length === 0) return found;
  const sources = wanted.map(({ account: { customerId }, source }) => ({
    customerId,
    source: 'orderId' in source ? source.orderId : source.bonusKey,
    ...source,
  }));
  const rows = await tx.all(histories, { sources: JSON.stringify(sources) });
  for (const { customerId, source, net, expired } of rows) found.set(`${customerId} ${source}`, { net, expired });
  for (const { account, source } of wanted) {
    const drafted = draftedHistory(account, source);
    if (!drafted) continue;
    const key = sourceKey(account.customerId, source);
    const { net = 0, expired = 0 } = found.get(key) ?? {};
    found.set(key, { net: net + drafted.net, expired: expired + drafted.expired });
  }
  return found;
}

function draftedHistory({ draft, lots }: OpenAccount, source: PointsSource): SourceHistory | null {
  const isOwn = (of: { orderId: string | null; bonusKey: string | null }) =>
    'orderId' in source ? of.orderId === source.orderId : of.bonusKey === source.bonusKey;
  let found = false;
  let net = 0;
  let expired = 0;
  for (const { id, kind, points, ...of } of draft.transactions) {
    if (kind === 'expire') {
      const lotId = draft.entries.find(({ transactionId }) => transactionId === id)?.lotId;
      const lot = draft.newLots.find((made) => made.id === lotId) ?? (lotId ? lots?.get(lotId) : undefined);
      if (!lot || !isOwn(lot)) continue;
      expired -= points;
    } else {
      if (!isOwn(of) || (kind !== 'earn' && kind !== 'bonus' && kind !== 'reverse')) continue;
      net += points;
    }
    found = true;
  }
  return found ? { net, expired } : null;
}

const takenLots = statement<{ lotId: string; points: number; activeAt: string; expiresAt: string | null }>(
  'loyalty_taken_lots',
  sql`select e.lot_id as "lotId", -e.points as points, l.active_at as "activeAt", l.expires_at as "expiresAt"
    from loyalty_entries e join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
    where e.customer_id = ${param('customerId')}::uuid and e.transaction_id = ${param('transactionId')}::uuid and e.points < 0
    order by e.line`,
);

/** What a transaction took, lot by lot, for `givePointsBack`. */
export function lotsTakenBy(tx: Transaction, customerId: string, transactionId: string): Promise<TakenLot[]> {
  return tx.all(takenLots, { customerId, transactionId });
}
