import { type LiabilityPart, liabilityValue, loyaltyLiability } from '../../domain/loyalty-liability.ts';
import type { MetricGroup, MetricResult } from '../../domain/metric-result.ts';
import { isBefore } from '../../domain/period.ts';
import { notFound } from '../../platform/errors.ts';
import { type Context, readOperation, requireScope } from '../../platform/operation.ts';
import { defaultLimit, pageFrom } from '../../platform/page.ts';
import { type ProgrammeRules, rulesAt } from '../loyalty-programmes/queries.ts';
import { holdersAt } from './group-queries.ts';
import { metricOperation } from './group-size.ts';
import {
  type LiabilityGroup,
  type LiabilityMember,
  liabilityInput,
  liabilityMemberPage,
  liabilityMembersInput,
} from './loyalty-liability-model.ts';
import {
  countLiabilityMembers,
  type LiabilityMemberRow,
  type LiabilityQuestion,
  liabilityMembers,
  type Outstanding,
  outstandingAt,
  outstandingGroups,
  programmesAsked,
  unsettledTiers,
} from './loyalty-liability-queries.ts';
import { checkGroup, pageKey, pageStart } from './members-page.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import { metricResult } from './model.ts';
import { earlier, hasEnded, resolveScope, resolveZone, seriesOf } from './scope.ts';

const definitions = `
Points at an instant come from the ledger, and agree with the balances of the members then. Outstanding points are the active and the pending ones. A debt (points taken back after they were spent) is not subtracted. A point is worth the \`pointValue\` of the version of its programme in force then, and nothing before the first version.`;

/** Groups in an answer, at most. */
const mostGroups = 1_000;

type Programmes = Awaited<ReturnType<typeof programmesAsked>>;

async function programmesOf(context: Context, programmeId: string | null): Promise<Programmes> {
  const programmes = await programmesAsked(context.db, programmeId);
  if (programmeId !== null && programmes.size === 0) throw notFound('loyalty programme');
  return programmes;
}

/** Minor units of the base currency. */
function pointValueAt(programmes: ReadonlyMap<string, ProgrammeRules>, programmeId: string, at: string): number {
  const programme = programmes.get(programmeId);
  return (programme && rulesAt(programme, at)?.pointValue) ?? 0;
}

export const getLoyaltyLiability = metricOperation(
  {
    metric: 'loyalty-liability',
    name: 'getLoyaltyLiability',
    summary: 'Loyalty liability',
    description: `What members could claim: outstanding points × what a point is worth, in minor units of the base currency, as of \`asOf\`.\n${definitions}

\`values\`, in total and for each group:
- \`outstandingPoints, activePoints, pendingPoints, debtPoints\`
- \`breakageRate\`: of the points whose expiry date has passed, those that expired unused ÷ those that were credited and not taken back (those that were transferred or came back count once). Of all programmes asked about together, also in groups; null below 1,000 such points
- \`expectedBreakage\`: breakageRate × the worth of the outstanding points that can expire; \`netLiability\`: the value minus that`,
    input: liabilityInput,
    output: metricResult,
    problems: ['not_found'],
    async run(context, { programmeId = null, groupBy = null, ...input }) {
      const scope = resolveScope(context, input);
      const { db } = context;
      const at = scope.end;
      const programmes = await programmesOf(context, programmeId);
      const first = firstJoined(programmes, at);
      const buckets = seriesOf(scope, first);
      const ends = buckets.map(({ insideTo }) => earlier(insideTo, at));
      const marks = [...new Set([...ends, at])].sort(compareInstants);
      const [balances, groups] = await Promise.all([
        outstandingAt(db, programmeId, marks),
        groupBy === null ? [] : groupsOf(context, programmes, { at, timeZone: scope.timeZone, programmeId, groupBy }),
      ]);
      const results = new Map(marks.map((mark, index) => [mark, liabilityAt(programmes, mark, balances[index])]));
      const resultAt = (mark: string) => results.get(mark) ?? liabilityAt(programmes, mark, undefined);
      const result = resultAt(at);
      const grouped =
        loyaltyLiability({ parts: groups, matured: balances.at(-1)?.matured ?? nothingMatured }).groups ?? [];
      const ordered = groupBy === 'expiry_month' ? grouped.sort(byKey) : grouped.sort(byValue);
      const cut = {
        code: 'groups_left_out',
        message: `Only ${mostGroups} groups are returned; ${ordered.length - mostGroups} are left out.`,
      };
      return metricResponse({
        metric: 'loyalty-liability',
        currency: context.baseCurrency,
        scope,
        firstFact: first,
        result: {
          ...result,
          groups: ordered.slice(0, mostGroups),
          warnings: [...result.warnings, ...(ordered.length > mostGroups ? [cut] : [])],
        },
        excluded: [],
        complete: hasEnded(scope.to, scope.asOf),
        series: seriesPoints(buckets, ends.map(resultAt), []),
      });
    },
  },
  {
    family: 'points',
    // A series would have to be looked at balance by balance.
    open: { interval: [] },
    values: /^outstandingPoints$/,
    rests: async ({ db }, { period, asOf }, k) => (await holdersAt(db, earlier(period.to, asOf))) >= k,
  },
);

const nothingMatured = { issued: 0n, expired: 0n };

/** When the first member joined: before that there was nothing to owe. */
function firstJoined(programmes: Programmes, at: string): string | null {
  const joined = [...programmes.values()].flatMap(({ firstJoinedAt }) => firstJoinedAt ?? []).sort(compareInstants);
  return joined[0] !== undefined && isBefore(joined[0], at) ? joined[0] : null;
}

function liabilityAt(programmes: Programmes, at: string, found: Outstanding | undefined): MetricResult {
  const parts = (found?.parts ?? []).map((part) => ({ ...part, pointValue: pointValueAt(programmes, part.key, at) }));
  return loyaltyLiability({ parts, matured: found?.matured ?? nothingMatured });
}

async function groupsOf(
  { db }: Context,
  programmes: Programmes,
  question: Omit<LiabilityQuestion, 'tiers'> & { groupBy: LiabilityGroup },
): Promise<LiabilityPart[]> {
  const { at, programmeId, groupBy } = question;
  const tiers = groupBy === 'tier' ? await unsettledTiers(db, programmes, at, programmeId) : [];
  const found = await outstandingGroups(db, { ...question, tiers });
  return found.map(({ programmeId: ofProgramme, ...part }) => ({
    ...part,
    pointValue: pointValueAt(programmes, ofProgramme, at),
  }));
}

function compareInstants(a: string, b: string): number {
  if (a === b) return 0;
  return isBefore(a, b) ? -1 : 1;
}

/** `never` comes after the months. */
function byKey(a: MetricGroup, b: MetricGroup): number {
  return a.key < b.key ? -1 : 1;
}

function byValue(a: MetricGroup, b: MetricGroup): number {
  return (b.value ?? 0) - (a.value ?? 0) || byKey(a, b);
}

export const listLoyaltyLiabilityMembers = readOperation({
  name: 'listLoyaltyLiabilityMembers',
  scope: 'metrics:read',
  partners: false,
  selfService: false,
  summary: 'Members behind the loyalty liability',
  description: `The members with outstanding points; their points and liabilities add up to those of the metric for the same question. Needs the scope \`loyalty:read\` as well. Without \`asOf\` all pages are as of the first one.\n${definitions}`,
  input: liabilityMembersInput,
  output: liabilityMemberPage,
  problems: ['not_found'],
  async run(context, { limit = defaultLimit, after, count, cursors, ...input }) {
    requireScope(context, 'loyalty:read');
    const { group = null, groupBy = null, programmeId = null, sort = '-points' } = input;
    checkGroup(groupBy, group);
    const cursorScope = JSON.stringify([context.principal.key, 'loyaltyLiabilityMembers', sort, input]);
    const position = after === undefined ? null : pageStart(context.cursors.decode(after, cursorScope));
    const { asOf: at, timeZone } = resolveZone(context, { ...input, asOf: input.asOf ?? position?.asOf });
    const programmes = await programmesOf(context, programmeId);
    const tiers = await unsettledTiers(context.db, programmes, at, programmeId);
    const question: LiabilityQuestion = { at, timeZone, programmeId, groupBy, tiers };
    const key = sort.replace(/^-/, '') === 'id' ? 'id' : 'points';
    const selection = {
      group,
      sort: key,
      descending: sort.startsWith('-'),
      after: position && { ...position, points: Number(position.mark) },
    } as const;
    const [rows, total] = await Promise.all([
      liabilityMembers(context.db, question, selection, limit),
      count ? countLiabilityMembers(context.db, question, group) : undefined,
    ]);
    const cursor = ({ id, active, pending }: LiabilityMemberRow) =>
      context.cursors.encode({ scope: cursorScope, key: pageKey(active + pending, at, id) });
    const { data, page } = pageFrom(rows, { limit, cursor, total, cursors });
    return {
      data: data.map(({ id, programmeId: ofProgramme, tier, active, pending, debt }): LiabilityMember => {
        const outstanding = active + pending;
        return {
          customerId: id,
          programmeId: ofProgramme,
          tier,
          outstandingPoints: outstanding,
          activePoints: active,
          pendingPoints: pending,
          debtPoints: debt,
          liability: liabilityValue(outstanding, pointValueAt(programmes, ofProgramme, at)),
        };
      }),
      page,
    };
  },
});
