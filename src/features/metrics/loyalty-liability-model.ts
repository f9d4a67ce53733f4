import { z } from 'zod';
import { pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { typeNames } from '../../platform/type-names.ts';
import { id, text } from '../../platform/values.ts';
import { commonParameters } from './model.ts';

/** What the metric `loyalty-liability` and its members take and answer. */

export const liabilityGroups = ['tier', 'expiry_month', 'programme'] as const;
export type LiabilityGroup = (typeof liabilityGroups)[number];

/** The group of points without an expiry date. */
export const neverExpires = 'never';

const { from, to, timeZone, asOf, interval, weekStart } = commonParameters;

const programmeId = id.optional().meta({ description: 'Only this programme. Default: all programmes.' });
const groupBy = z.enum(liabilityGroups).register(typeNames, { name: 'LoyaltyLiabilityGroup' }).optional();
const groupDescription =
  '`tier`: held at that instant, the empty key without one. `expiry_month`: in `timeZone`, `never` for points without an expiry date; debts belong to no month. `programme`: its id.';

export const liabilityInput = z.strictObject({
  from: from.meta({ description: 'Where the `series` begins. Default: at the first member.' }),
  to: to.meta({ description: 'The instant of the liability, unless `asOf` is earlier.' }),
  timeZone,
  asOf: asOf.meta({
    description:
      'The liability at this instant. It may be in the future, without what members will earn and spend until then. Default: now.',
  }),
  weekStart,
  interval: interval.meta({
    description:
      'Also return a `series`: the liability at the end of each calendar interval, at most 1,000 of them. Weeks start on `weekStart`.',
  }),
  programmeId,
  groupBy: groupBy.meta({
    description: `Also return \`groups\`, at most 1,000: the months in their order, else the largest liability first. ${groupDescription}`,
    example: 'tier',
  }),
});

export const liabilityMembersInput = z.strictObject({
  ...pageParameters,
  timeZone,
  asOf: asOf.meta({ description: 'The points at this instant. Default: now.' }),
  sort: sortParameter(['points', 'id'], '-points'),
  programmeId,
  groupBy: groupBy.meta({ description: `With \`group\`. ${groupDescription}`, example: 'tier' }),
  group: text(200, 0).optional().meta({
    description:
      'Only the group with this key; with `groupBy`. Of an `expiry_month`, only the points that expire in it.',
    example: 'gold',
  }),
});

const points = z.int().min(0);

export const liabilityMember = z
  .strictObject({
    customerId: id,
    programmeId: id,
    tier: z.string().nullable().meta({ description: 'Held at `asOf`.', example: 'gold' }),
    outstandingPoints: points.meta({ description: 'Active and pending points; debt is not subtracted.', example: 420 }),
    activePoints: points,
    pendingPoints: points,
    debtPoints: points.meta({ description: 'Owed by the member.' }),
    liability: z.number().meta({
      description: 'What the outstanding points are worth, minor units of the base currency; may be a fraction.',
      example: 210,
    }),
  })
  .meta({ id: 'LoyaltyLiabilityMember', description: 'A member with outstanding points.' });
export type LiabilityMember = z.output<typeof liabilityMember>;

export const liabilityMemberPage = pageOf(liabilityMember).meta({ id: 'LoyaltyLiabilityMemberPage' });
