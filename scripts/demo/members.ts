import type { z } from 'zod';
import type { loyaltyRulesInput } from '../../src/features/loyalty-programmes/record.ts';
import type { rewardInput } from '../../src/features/rewards/record.ts';
import { seededRandom } from './random.ts';
import { days, instantOf, type Store } from './store.ts';

/** The shop's loyalty programme, one year old: its rules, what there is for points, and who joined when. */

/** Days from the opening of the shop to the beginning of the programme. */
export const programmeDay = 365;

/** A reward of the catalogue; the programme it belongs to has an id only once it is there. */
export type Reward = Omit<z.input<typeof rewardInput>, 'programmeId'>;

export interface Members {
  rules: z.input<typeof loyaltyRulesInput>;
  rewards: Reward[];
  /** In the order in which they join. */
  joins: { externalId: string; at: string }[];
}

const rules: Members['rules'] = {
  pointsPerUnit: 1,
  rounding: 'down',
  earnOn: 'paid',
  pendingDays: 14,
  expiryDays: 180,
  refundPolicy: 'within_balance',
  categories: [{ category: 'coffee', multiplier: 1.5 }],
  campaigns: [
    { name: 'Double points in advent', from: '2025-11-30T00:00:00Z', to: '2025-12-24T23:00:00Z', multiplier: 2 },
  ],
  tiers: {
    basis: 'spend',
    windowDays: 180,
    periodDays: 180,
    graceDays: 30,
    levels: [
      { key: 'green', name: 'Green', threshold: 0, multiplier: 1 },
      { key: 'roasted', name: 'Roasted', threshold: 10_000, multiplier: 1.25 },
      { key: 'dark', name: 'Dark roast', threshold: 25_000, multiplier: 1.5 },
    ],
  },
  bonuses: {
    welcome: 20,
    birthday: 25,
    anniversary: 25,
    purchase: { count: 5, points: 50 },
    referral: { referrer: 30, referee: 15 },
  },
  pointValue: 5,
};

const rewards: Reward[] = [
  { name: 'A cup', points: 60, stock: 120, limitPerCustomer: 2 },
  { name: '250 g of the month’s coffee', points: 100 },
  { name: 'A seat at a tasting', points: 200, stock: 12, tier: 'roasted' },
];

/** Those whom the shop knew already join by and by, new ones when they come; not everybody does. */
export function inventMembers(seed: number, store: Store): Members {
  const random = seededRandom(seed + 3);
  const joins = store.people
    .filter(({ guest }) => !guest)
    .flatMap(({ externalId, since }) => {
      const known = since < programmeDay;
      const day = known ? programmeDay + Math.floor(150 * random.uniform() ** 2) : since;
      const at = instantOf(Math.min(day, days - 1), random.integer(7, 22), random);
      return random.chance(known ? 0.4 : 0.55) ? [{ externalId, at }] : [];
    })
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return { rules, rewards, joins };
}
