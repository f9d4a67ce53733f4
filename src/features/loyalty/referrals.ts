import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { isBefore } from '../../domain/period.ts';
import { param, Retry, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { enqueueAll, type Job, job } from '../../platform/jobs.ts';
import { id } from '../../platform/values.ts';
import { redirectsOf } from '../customers/aliases.ts';
import { lockCustomers } from '../customers/queries.ts';
import type { OpenAccount } from './account.ts';
import { bonusEntitlements, memberFacts } from './earning-queries.ts';
import { earningDates, earningRules } from './earning-rules.ts';
import { recompute } from './ledger.ts';
import { openAccounts } from './open-accounts.ts';
import { saveAccounts } from './save-accounts.ts';
import { sourceHistories, sourceKey } from './source-histories.ts';

interface Involved {
  referrer: string | null;
  /** Who has the bonus so far, as far as the member's own bonus tells. */
  rewarded: string | null;
}

const involved = statement<Involved>(
  'loyalty_referral',
  sql`select c.referred_by as referrer, (
      select t.related_customer_id from loyalty_transactions t where t.customer_id = c.id and t.bonus_key = 'referred'
        and t.kind in ('bonus', 'reverse') order by t.created_at desc, t.id desc limit 1) as rewarded
    from customers c where c.id = ${param('customerId')}::uuid`,
);

const by = 'referral';

const payload = z.strictObject({
  customerId: id.meta({ description: 'The referred customer.' }),
  former: id.optional().meta({ description: 'The previous referrer.' }),
});

/**
 * Recomputes what a member and whoever referred them have for it: both get their bonus while they are members of the same
 * programme and the referred one has bought something since joining. Points by the rules in force then, or when the other
 * one joined if that was later. Changes two accounts, so it is not done in the transaction of the order.
 */
export const recomputeReferral: Job<typeof payload> = job({
  name: 'restateLoyaltyReferral',
  payload,
  run: async ({ pool, reportingTimeZone }, { customerId, former }, { now }) => {
    await transaction(pool, async (tx) => {
      const seen = await tx.first(involved, { customerId });
      if (!seen) return;
      // Who was said to be the referrer may have been merged into somebody since.
      const today = former && ((await redirectsOf(tx, [former])).get(former) ?? former);
      const ids = [customerId, ...namedIn({ ...seen, former: today })];
      await lockCustomers(tx, ids);
      const found = await tx.first(involved, { customerId });
      if (found?.referrer !== seen.referrer || found.rewarded !== seen.rewarded) throw new Retry('a referral changed');
      const accounts = await openAccounts(tx, { now }, ids, { lots: true });
      const member = accounts.get(customerId);
      if (!member) return;
      await recomputeBoth(tx, accounts, member, found, reportingTimeZone);
      saveAccounts(tx, accounts.values());
    });
  },
});

function namedIn({ referrer, rewarded, former }: Involved & { former: string | undefined }): string[] {
  return [referrer, rewarded, former].flatMap((customer) => customer ?? []);
}

/**
 * Looks again, after this write, at who referred these customers, whether they are members or not.
 * @param referrals `former`: who was said to have referred the customer before this write
 */
export function enqueueReferrals(
  tx: Transaction,
  referrals: readonly { customerId: string; former?: string | undefined }[],
): void {
  enqueueAll(
    tx,
    recomputeReferral,
    referrals.map(({ customerId, former }) => ({
      payload: { customerId, former },
      key: former === undefined ? customerId : `${customerId}:${former}`,
    })),
  );
}

async function recomputeBoth(
  tx: Transaction,
  accounts: ReadonlyMap<string, OpenAccount>,
  member: OpenAccount,
  found: Involved,
  timeZone: string,
): Promise<void> {
  const { customerId, row } = member;
  const own = { bonusKey: 'referred' };
  const theirs = { bonusKey: `referral:${customerId}` };
  const { joinedAt, programmeId } = row;
  const facts = await memberFacts(tx, [{ customerId, programmeId, joinedAt, purchases: 1, referral: false }]);
  const bought = facts.get(customerId)?.purchases[0];
  const referrer = found.referrer === null ? undefined : accounts.get(found.referrer);
  const isEarned = bought !== undefined && referrer?.row.programmeId === programmeId;
  const sides = [...accounts.values()].map((account) => {
    const isOwn = account === member;
    const at = bought === undefined || isBefore(bought, account.row.joinedAt) ? account.row.joinedAt : bought;
    const rules = earningRules(account.programme, at);
    const points = (isOwn ? rules?.bonuses.referral?.referee : rules?.bonuses.referral?.referrer) ?? 0;
    return {
      account,
      source: isOwn ? own : theirs,
      after: isEarned && (isOwn || account === referrer) ? points : 0,
      dates: earningDates(rules, at, timeZone),
      relatedCustomerId: isOwn ? (referrer?.customerId ?? found.rewarded) : customerId,
    };
  });
  const entitled = await bonusEntitlements(
    tx,
    sides.map(({ account, source }) => ({ customerId: account.customerId, ...source })),
  );
  const histories = await sourceHistories(tx, sides);
  for (const { account, source, after, dates, relatedCustomerId } of sides) {
    const key = sourceKey(account.customerId, source);
    const change = { before: entitled.get(key) ?? 0, after, history: histories.get(key) ?? { net: 0, expired: 0 } };
    const transaction = recompute(account, source, { ...change, dates, by });
    if (transaction) transaction.relatedCustomerId = relatedCustomerId;
  }
  if (row.referralRewarded !== isEarned) {
    row.referralRewarded = isEarned;
    member.draft.changed = true;
  }
}
