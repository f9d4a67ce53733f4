import { listLoyaltyProgrammes } from '../../src/features/loyalty-programmes/operations.ts';
import { loyaltyTiers } from '../../src/features/loyalty-programmes/tiers.ts';
import { metricResult } from '../../src/features/metrics/model.ts';
import { listRewards } from '../../src/features/rewards/operations.ts';
import type { ServiceClient } from '../service-client.ts';
import { table } from './calls.ts';

/** The loyalty programme: who is in it, what they still have, what they took. */
export async function clubTable(client: ServiceClient): Promise<string> {
  const { data: programmes } = listLoyaltyProgrammes.output.parse(
    await client.request('GET', '/v1/loyalty/programmes'),
  );
  const [programme] = programmes;
  if (!programme) return 'There is no programme.';
  const [tiers, liability, { data: rewards }] = await Promise.all([
    client.request('GET', `/v1/loyalty/tiers?programmeId=${programme.id}`).then((answer) => loyaltyTiers.parse(answer)),
    client.request('GET', '/v1/metrics/loyalty-liability?groupBy=tier').then((answer) => metricResult.parse(answer)),
    client
      .request('GET', `/v1/loyalty/rewards?programmeId=${programme.id}&sort=points`)
      .then((answer) => listRewards.output.parse(answer)),
  ]);
  const levels = tiers.levels.map(({ key, name, multiplier, members }) => {
    const group = liability.groups.find((candidate) => candidate.key === key);
    const worth = ((group?.value ?? 0) / 100).toFixed(2);
    return [name, `× ${multiplier}`, String(members), String(group?.values.outstandingPoints ?? 0), `${worth} EUR`];
  });
  const taken = rewards.map(
    ({ name, points, redeemed, stock }) =>
      `${redeemed} × ${name} for ${points}${stock === null ? '' : ` (${stock - redeemed} left)`}`,
  );
  return [
    table(['level', 'earns', 'members', 'points', 'worth'], levels, [1, 2, 3, 4]),
    `Taken: ${taken.join(', ')}`,
  ].join('\n');
}
