import { type LotDates, type LoyaltyRules, lotDates } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import { type ProgrammeRules, rulesAt } from '../loyalty-programmes/queries.ts';

/** The rules by which what happens at `t` earns; null before the first version, and once the programme has ended. */
export function earningRules(programme: ProgrammeRules, t: string): LoyaltyRules | null {
  if (programme.endedAt !== null && !isBefore(t, programme.endedAt)) return null;
  return rulesAt(programme, t);
}

/** The dates of what is earned at `t` by these rules; without rules nothing is. */
export function earningDates(rules: LoyaltyRules | null, t: string, timeZone: string): LotDates {
  return lotDates(rules ?? { pendingDays: 0, expiryDays: null, expiresOn: null, expiresAtEndOf: null }, t, timeZone);
}
