import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { readOperation } from '../../platform/operation.ts';
import { id, smallInteger } from '../../platform/values.ts';
import {
  type ProgrammeRulesJson,
  programmeNotPublished,
  programmeRulesJson,
  readProgrammeRules,
  versionInForce,
} from './queries.ts';
import { loyaltyTierLevel, loyaltyTierRules, type ProgrammeStatus } from './record.ts';

const tierMembers = loyaltyTierLevel
  .extend({ members: smallInteger.meta({ description: 'Members who hold it.', example: 1200 }) })
  .meta({ id: 'LoyaltyTierMembers', description: 'A level and how many hold it.' });

const { basis, windowDays, periodDays, graceDays } = loyaltyTierRules.shape;

export const loyaltyTiers = z
  .strictObject({
    programmeId: id,
    number: smallInteger.meta({ description: 'The version in force.', example: 2 }),
    basis: basis.nullable().meta({ description: 'null, with the days: there are no levels.' }),
    windowDays: windowDays.nullable(),
    periodDays: periodDays.nullable(),
    graceDays: graceDays.nullable(),
    levels: z.array(tierMembers).meta({ description: 'By threshold, ascending.' }),
    members: smallInteger.meta({ description: 'All members of the programme.' }),
    withoutTier: smallInteger.meta({
      description: 'Members who hold none of these levels, because the programme had none so far.',
    }),
  })
  .meta({
    id: 'LoyaltyTiers',
    description: 'The levels in force, and how many members hold each, as their accounts were last recomputed.',
  });

const counting = statement<{
  status: ProgrammeStatus;
  found: ProgrammeRulesJson;
  held: [string | null, number][] | null;
}>(
  'count_loyalty_tiers',
  sql`select p.status, ${programmeRulesJson(sql`p.id`)} as found,
      (select json_agg(json_build_array(tier, members))
        from (select tier, count(*) as members from loyalty_accounts where programme_id = ${param('id')}::uuid group by tier) h) as held
    from loyalty_programmes p where p.id = ${param('id')}::uuid`,
);

export const getLoyaltyTiers = readOperation({
  name: 'getLoyaltyTiers',
  scope: 'loyalty:read',
  partners: false,
  selfService: false,
  summary: 'Read the tiers of a loyalty programme',
  description:
    'The levels of the version in force, and how many members hold each. A change that comes with time alone (the end of a period) counts once the account is recomputed: with its next write, or by the job that runs every few minutes.',
  input: z.strictObject({ programmeId: id }),
  output: loyaltyTiers,
  problems: ['not_found', programmeNotPublished],
  async run({ db, now }, { programmeId }) {
    const row = await db.first(counting, { id: programmeId });
    if (!row) throw notFound('loyalty programme');
    const { number, rules } = versionInForce(readProgrammeRules(programmeId, row.found), now);
    const held = new Map(row.held ?? []);
    const levels = (rules.tiers?.levels ?? []).map((level) => ({ ...level, members: held.get(level.key) ?? 0 }));
    const members = [...held.values()].reduce((sum, count) => sum + count, 0);
    return {
      programmeId,
      number,
      basis: rules.tiers?.basis ?? null,
      windowDays: rules.tiers?.windowDays ?? null,
      periodDays: rules.tiers?.periodDays ?? null,
      graceDays: rules.tiers?.graceDays ?? null,
      levels,
      members,
      withoutTier: levels.reduce((rest, level) => rest - level.members, members),
    };
  },
});
