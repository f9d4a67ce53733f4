import type { z } from 'zod';
import { calendarDaysBetween, hoursBetween, leadFunnel } from '../../domain/lead-funnel.ts';
import { asGroup, type MetricResult } from '../../domain/metric-result.ts';
import { startOfDayBefore } from '../../domain/preceding-period.ts';
import { type Context, personalScope, readOperation, requireScope } from '../../platform/operation.ts';
import { defaultLimit, pageFrom } from '../../platform/page.ts';
import { rulesInForce } from '../lead-scores/queries.ts';
import { leadsByIds } from '../leads/queries.ts';
import { metricOperation } from './group-size.ts';
import {
  type LeadFunnelMember,
  leadFunnelInput,
  leadFunnelMemberPage,
  leadFunnelMembersInput,
} from './lead-funnel-model.ts';
import {
  countFunnelMembers,
  type FunnelQuestion,
  firstLeadAt,
  funnelCounts,
  funnelMembers,
  type MemberRow,
  mostGroups,
} from './lead-funnel-queries.ts';
import { checkGroup, pageKey, pageStart } from './members-page.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import { metricResult } from './model.ts';
import { forParameter, hasEnded, resolveScope, seriesOf } from './scope.ts';

const definitions = `
A lead belongs to the period in which it entered; all else is as of \`asOf\`: its stage by its history (the change with the highest sequence before \`asOf\`), its interactions before it, and the rule set in force then. Properties of the lead and its customer (source, segment, owner, profile) are as of now.

- \`value\`: leads that became a customer ÷ leads. A conversion that the next stage change takes back (\`no_qualifying_order_left\`) does not count; a customer who left later still does.
- open: in a stage before \`customer\`. \`former\` is \`lost\`; \`lostCustomers\` of these had been converted.
- \`underQualified\`: open leads with a smaller share of the profile fields filled in than \`completeness\`. The fields are the rule set's \`profileFields\`: by default name, email, phone, country and source.
- \`untouched\`: open leads without any interaction in the \`silentDays\` calendar days before the day of \`asOf\`, nor on that day; \`neverTouched\` without one at all. Interactions of every kind count unless they are \`automatic\`, those before the lead entered too.
- first response: the first interaction from when the lead entered that is outbound or names a member of staff, ad impressions and \`automatic\` ones aside. \`unanswered\` leads have none yet, and are in no percentile. Percentiles interpolate linearly.
- \`reached…\`: leads that have been in the stage or a later one: a skipped stage counts as reached. \`leadToMarketingQualified\` and the like are the share of leads in one stage that reached the next.`;

const defaultSilentDays = 14;
const defaultCompleteness = 0.5;

type Question = Pick<
  z.output<typeof leadFunnelInput>,
  'from' | 'to' | 'timeZone' | 'asOf' | 'interval' | 'weekStart' | 'completeness' | 'silentDays' | 'groupBy'
>;

async function resolve(context: Context, input: Question): Promise<FunnelQuestion> {
  const { completeness = defaultCompleteness, silentDays = defaultSilentDays, groupBy = null } = input;
  // An address is personal: groups of one would tell it.
  if (groupBy === 'country') requireScope(context, personalScope);
  const scope = resolveScope(context, input);
  return {
    scope,
    rules: await rulesInForce(context.db, scope.asOf),
    completeness,
    silentSince: forParameter('silentDays', () => startOfDayBefore(scope.asOf, silentDays, scope.timeZone)),
    groupBy,
  };
}

export const getLeadFunnel = metricOperation(
  {
    metric: 'lead-funnel',
    name: 'getLeadFunnel',
    summary: 'Funnel health',
    description: `Of the leads that entered in the period: how many became customers, how many are under-qualified, untouched and unanswered, and how they went from stage to stage. Later intervals of a \`series\` have had less time to convert. A customer who had bought before becoming a lead counts as converted on entering.\n${definitions}

\`values\`: \`leads, open, converted, lost, lostCustomers, inSubscriber, inLead, inMarketingQualified, inSalesQualified, inCustomer\`, the lost by reason (\`lostPrice, lostNoBudget …\`), \`underQualified, underQualifiedShare, untouched, untouchedShare, neverTouched, neverTouchedShare, answered, unanswered, timeToFirstResponseMedianHours, timeToFirstResponseP90Hours, reachedLead, reachedMarketingQualified, reachedSalesQualified, reachedCustomer, leadToMarketingQualified, marketingQualifiedToSalesQualified, salesQualifiedToCustomer, timeToConversionMedianDays, completeness, silentDays\`. Shares are of the open leads. A ratio without a denominator is null, and a warning says why.`,
    input: leadFunnelInput,
    output: metricResult,
    async run(context, input) {
      const question = await resolve(context, input);
      const { scope } = question;
      const first = await firstLeadAt(context.db, scope);
      const buckets = seriesOf(scope, first);
      const counts = await funnelCounts(context.db, question, buckets);
      const { completeness = defaultCompleteness, silentDays = defaultSilentDays } = input;
      const told = (result: MetricResult) => ({ ...result, values: { ...result.values, completeness, silentDays } });
      const whole = told(leadFunnel(counts.whole));
      const groups = counts.groups.map((group) => asGroup(group.key, told(leadFunnel(group.counts))));
      const cut = {
        code: 'groups_left_out',
        message: `Only the ${mostGroups} largest groups are returned; ${counts.groupsLeftOut} are left out.`,
      };
      return metricResponse({
        metric: 'lead-funnel',
        currency: null,
        scope,
        firstFact: first,
        result: { ...whole, groups, warnings: [...whole.warnings, ...(counts.groupsLeftOut > 0 ? [cut] : [])] },
        excluded: [],
        complete: hasEnded(scope.to, scope.asOf),
        series: seriesPoints(
          buckets,
          counts.series.map((one) => told(leadFunnel(one))),
          [],
        ),
      });
    },
  },
  {
    family: 'leads',
    // Not the times, which may be those of a few.
    values: /^(?!timeTo)/,
    bases: ['leads'],
  },
);

export const listLeadFunnelMembers = readOperation({
  name: 'listLeadFunnelMembers',
  scope: 'metrics:read',
  partners: false,
  selfService: false,
  summary: 'Leads behind a number of the funnel',
  description: `The leads of a \`list\`, exactly those that the metric counts for the same input: e.g. \`untouched\`, the leads without recent interactions. Needs the scope \`leads:read\` as well. Without \`asOf\` all pages are as of the first one.\n${definitions}`,
  input: leadFunnelMembersInput,
  output: leadFunnelMemberPage,
  async run(context, { limit = defaultLimit, after, count, cursors, ...input }) {
    requireScope(context, 'leads:read');
    const { list, group = null, sort = '-enteredAt' } = input;
    checkGroup(input.groupBy, group);
    const cursorScope = JSON.stringify([context.principal.key, 'leadFunnelMembers', sort, input]);
    const position = after === undefined ? null : pageStart(context.cursors.decode(after, cursorScope));
    const question = await resolve(context, { ...input, asOf: input.asOf ?? position?.asOf });
    const { asOf, timeZone } = question.scope;
    const selection = {
      list,
      group,
      descending: sort.startsWith('-'),
      after: position && { ...position, enteredAt: position.mark },
    };
    const [rows, total] = await Promise.all([
      funnelMembers(context.db, question, selection, limit),
      count ? countFunnelMembers(context.db, question, selection) : undefined,
    ]);
    const cursor = ({ enteredAt, id }: MemberRow) =>
      context.cursors.encode({ scope: cursorScope, key: pageKey(enteredAt, asOf, id) });
    const { data, page } = pageFrom(rows, { limit, cursor, total, cursors });
    const leads = await leadsByIds(
      context.db,
      context,
      data.map(({ id }) => id),
    );
    return {
      data: data.flatMap((row): LeadFunnelMember[] => {
        const lead = leads.get(row.id);
        // Deleted since the page was read.
        if (!lead) return [];
        const { id: _, enteredAt, ...figures } = row;
        return [
          {
            lead,
            ...figures,
            daysSinceLastInteraction: since(figures.lastInteractionAt, (at) => calendarDaysBetween(at, asOf, timeZone)),
            hoursToFirstResponse: since(figures.firstResponseAt, (at) => hoursBetween(enteredAt, at)),
            daysToConversion: since(figures.convertedAt, (at) => hoursBetween(enteredAt, at) / 24),
          },
        ];
      }),
      page,
    };
  },
});

function since(at: string | null, time: (at: string) => number): number | null {
  return at === null ? null : time(at);
}
