import { z } from 'zod';
import { closedLoop } from '../../domain/closed-loop.ts';
import { notFound } from '../../platform/errors.ts';
import { id } from '../../platform/values.ts';
import { surveyById } from '../surveys/queries.ts';
import { firstDetractorAt, type LoopCounts, loopCounts } from './closed-loop-queries.ts';
import { dimensional } from './dimensions.ts';
import { metricOperation } from './group-size.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import { commonParameters, type Excluded, groupParameters, metricResult } from './model.ts';
import { hasEnded, resolveScope, seriesOf } from './scope.ts';

const { from, to, timeZone, asOf, interval, weekStart } = commonParameters;

export const getClosedLoop = metricOperation(
  {
    metric: 'closed-loop',
    name: 'getClosedLoop',
    summary: 'Closing the loop',
    description: `Of the \`detractor\` follow-ups that were opened in the period: those closed by their due date ÷ those closed or overdue, as of \`asOf\`. Follow-ups that are open and not yet due are in neither (\`notYetDue\`, and the warning \`not_all_due\`: a recent period looks better than it is). Cancelled ones are in \`excluded\`. A reopened one counts as open while it is open. \`interval\` is a Wilson interval.

\`values\`: \`opened, closed, closedInTime, overdue, notYetDue\`, the closed ones by outcome (\`outcomeRetained, outcomeResolved, outcomeLost, outcomeNotReached, outcomeOther\`), and of those whose customer answered a 0–10 question again after the closing, in any survey and before \`asOf\`: \`answeredAgain\`, the means \`scoreBefore, scoreAfter, scoreChange\` and \`npsBefore, npsAfter\`. The change is not only the effect of the follow-ups: the warning \`regression_to_the_mean\`.`,
    input: z.strictObject({
      from,
      to,
      timeZone,
      asOf,
      interval,
      weekStart,
      ...groupParameters,
      surveyId: id.optional().meta({ description: 'Only follow-ups that answers to this survey opened.' }),
    }),
    output: metricResult,
    problems: ['not_found'],
    run: dimensional({ name: 'getClosedLoop', orders: false }, async (context, { surveyId = null, ...input }) => {
      if (surveyId !== null && !(await surveyById(context.db, surveyId))) throw notFound('survey');
      const scope = resolveScope(context, input);
      const firstFact = await firstDetractorAt(context.db, scope);
      const buckets = seriesOf(scope, firstFact);
      const { whole, series } = await loopCounts(context.db, scope, surveyId, buckets);
      return metricResponse({
        metric: 'closed-loop',
        currency: null,
        scope,
        firstFact,
        result: closedLoop(whole.counts),
        excluded: cancelledOnes(whole),
        complete: hasEnded(scope.to, scope.asOf),
        series: seriesPoints(
          buckets,
          series.map(({ counts }) => closedLoop(counts)),
          series.map(cancelledOnes),
        ),
      });
    }),
  },
  {
    family: 'detractors',
    values: /^(opened|closed|closedInTime|overdue|notYetDue|outcome[A-Z][A-Za-z]*)$/,
  },
);

function cancelledOnes({ cancelled }: LoopCounts): Excluded[] {
  return cancelled > 0 ? [{ reason: 'cancelled', count: cancelled }] : [];
}
