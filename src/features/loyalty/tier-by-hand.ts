import { z } from 'zod';
import { endOfPeriod } from '../../domain/loyalty-tiers.ts';
import { isBefore } from '../../domain/period.ts';
import { invalid, notFound } from '../../platform/errors.ts';
import { writeOperation, writeParameters } from '../../platform/operation.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { lockCustomers } from '../customers/queries.ts';
import { rulesAt } from '../loyalty-programmes/queries.ts';
import { recomputeAllOrders } from './earning.ts';
import { openAccounts } from './open-accounts.ts';
import { loyaltyOf } from './queries.ts';
import { tierSetting, writtenCustomerLoyalty } from './record.ts';
import { saveAccounts } from './save-accounts.ts';

export const setLoyaltyTier = writeOperation({
  name: 'setLoyaltyTier',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Set the tier of a member by hand',
  description:
    'Holds from now `until` then, whatever is refunded or corrected meanwhile. It ends earlier when you set another one, or with an order that reaches a level above it and above the one that orders had reached when you set it. At its end the member gets the level that is reached then, without a grace. It is listed among the changes of the tier with your reason. A setting that is in force already changes nothing.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, body: tierSetting }),
  output: writtenCustomerLoyalty,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', personErasedProblem],
  async run(tx, context, { body: { tier, reason, until }, dryRun: _, ...target }) {
    const customerId = await targetId(tx, 'customer', target, { toWrite: true });
    await lockCustomers(tx, [customerId]);
    refuseErased(tx, customerId);
    const accounts = await openAccounts(tx, context, [customerId], { lots: true });
    const account = accounts.get(customerId);
    if (!account) throw notFound('member');
    const { row, programme, now } = account;
    const rules = rulesAt(programme, now)?.tiers;
    if (!rules?.levels.some(({ key }) => key === tier)) {
      const keys = (rules?.levels ?? []).map(({ key }) => key).join(', ');
      throw invalid(
        '/tier',
        'unknown_tier',
        keys ? `The programme has no tier of this key: send one of ${keys}.` : 'The programme has no tiers now.',
      );
    }
    if (until && !isBefore(now, until))
      throw invalid(
        '/until',
        'in_the_past',
        'until is not in the future: send a later instant, or leave it out for the period of the rules.',
      );
    const isInForce = row.tierByHand !== null && row.tier === tier && (until == null || until === row.tierEndsAt);
    if (!isInForce) {
      const endsAt = until ?? endOfPeriod(rules, tier, now);
      const setting = { at: now, tier, endsAt, note: reason, by: context.principal.client };
      await recomputeAllOrders(tx, context, accounts, setting);
    }
    saveAccounts(tx, accounts.values());
    const written = await loyaltyOf(tx, customerId, { asOf: now });
    if (!written) throw notFound('member');
    return { ...written, created: false };
  },
});
