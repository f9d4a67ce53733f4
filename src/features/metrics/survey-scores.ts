import { customerEffort } from '../../domain/customer-effort.ts';
import { customerSatisfaction } from '../../domain/customer-satisfaction.ts';
import { asGroup, type MetricResult, type Notice } from '../../domain/metric-result.ts';
import { netPromoterScore } from '../../domain/net-promoter-score.ts';
import { notFound } from '../../platform/errors.ts';
import { type Context, readOperation, requireScope } from '../../platform/operation.ts';
import { defaultLimit, pageFrom } from '../../platform/page.ts';
import { type AnswerBand, bandName, storedBand } from '../survey-responses/record.ts';
import type { MetricName } from './definitions.ts';
import { metricOperation } from './group-size.ts';
import { checkGroup, pageKey, pageStart } from './members-page.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import { metricResult } from './model.ts';
import { hasEnded, invalidParameter, refuseParameters, resolveScope, seriesOf } from './scope.ts';
import {
  type ScoreInput,
  type ScoreListInput,
  type ScoreMember,
  type ScoreReason,
  scoreFilters,
  scoreInput,
  scoreListInputs,
  scoreMemberPage,
  scoreReasonPage,
} from './survey-score-model.ts';
import {
  type BandCounts,
  countAnswers,
  excludedAnswers,
  firstAnswerAt,
  hasMixedScales,
  type ListedAnswer,
  listAnswers,
  mostGroups,
  questionsOf,
  responsesByIds,
  type ScoreQuestion,
  type ScoreType,
  scoreCounts,
} from './survey-score-queries.ts';

/** The metrics of scores that customers give: NPS, CSAT and CES, the answers behind them, and the reasons given. */

interface SurveyScore {
  name: MetricName;
  type: ScoreType;
  judge: (counts: BandCounts) => MetricResult;
}

const nps: SurveyScore = {
  name: 'net-promoter-score',
  type: 'nps',
  judge: ({ good, middle, bad }) => netPromoterScore({ promoters: good, passives: middle, detractors: bad }),
};
const csat: SurveyScore = {
  name: 'customer-satisfaction',
  type: 'csat',
  judge: ({ good, middle, bad }) => customerSatisfaction({ satisfied: good, answers: good + middle + bad }),
};
const ces: SurveyScore = {
  name: 'customer-effort',
  type: 'ces',
  judge: ({ good, middle, bad }) => customerEffort({ easy: good, neutral: middle, hard: bad }),
};

const population = `
- An answer belongs to the period in which it was given. Answers of complete responses that were in time are counted; \`dismissed\`, \`partial\` and \`late\` responses are in \`excluded\`, each under the first reason that applies (a dismissed one where its survey asks the question, a partial or late one where it answers it).
- By default the latest answer of each customer in the period counts, in any survey (with \`surveyId\`: to this question). Anonymous answers all count. Filters and groups apply to these answers: a customer whose latest answer was about Maria counts for Maria only. In a \`series\` it is the latest answer in each interval, so the counts can add up to more than the whole.
- Of each survey its first question of the type counts; with \`surveyId\`, any one can be named.`;

const mixedScales: Notice = {
  code: 'mixed_scales',
  message:
    'The answers were given on different scales, and are counted together by what each scale calls good or bad. Ask per survey to compare.',
};

async function resolve(context: Context, { type }: SurveyScore, input: ScoreInput): Promise<ScoreQuestion> {
  const { surveyId, include = [], groupBy = null } = input;
  if (surveyId === undefined) refuseParameters(input, ['question'], 'surveyId');
  const filters: ScoreQuestion['filters'] = {};
  for (const name of scoreFilters) {
    const wanted = input[name];
    if (wanted !== undefined) filters[name] = wanted;
  }
  return {
    type,
    scope: resolveScope(context, input),
    asked:
      surveyId === undefined ? null : { surveyId, question: await questionIn(context, type, surveyId, input.question) },
    latest: input.answers !== 'all',
    partial: include.includes('partial'),
    late: include.includes('late'),
    filters,
    groupBy,
  };
}

/** The key of the question of a survey that is meant. */
async function questionIn(context: Context, type: ScoreType, surveyId: string, key?: string): Promise<string> {
  const questions = await questionsOf(context.db, surveyId);
  if (questions === null) throw notFound('survey');
  if (key === undefined) {
    const first = questions.find((one) => one.current && one.type === type)?.key;
    if (first) return first;
    throw invalidParameter('surveyId', 'no_such_question', `the survey asks no question of the type ${type}`);
  }
  const found = questions.find((one) => one.key === key);
  if (!found) throw invalidParameter('question', 'unknown_question', 'no version of the survey has it');
  if (found.type !== type)
    throw invalidParameter('question', 'wrong_type', `is of the type ${found.type}, not ${type}`);
  return key;
}

function metric(surveyScore: SurveyScore, told: { name: string; summary: string; description: string }) {
  return metricOperation(
    {
      ...told,
      metric: surveyScore.name,
      description: `${told.description}\n${population}`,
      input: scoreInput,
      output: metricResult,
      problems: ['not_found'],
      async run(context, input) {
        const { db } = context;
        const question = await resolve(context, surveyScore, input);
        const { scope } = question;
        // A series of all time begins with the first answer.
        const first = firstAnswerAt(db, question);
        const buckets = scope.interval === null ? [] : seriesOf(scope, await first);
        const [counts, excluded, mixed, firstFact] = await Promise.all([
          scoreCounts(db, question, buckets),
          excludedAnswers(db, question, buckets),
          hasMixedScales(db, question),
          first,
        ]);
        const groups = counts.groups.map((group) => asGroup(group.key, surveyScore.judge(group.counts)));
        const cut = {
          code: 'groups_left_out',
          message: `Only the ${mostGroups} largest groups are returned; ${counts.groupsLeftOut} are left out.`,
        };
        const whole = surveyScore.judge(counts.whole);
        const warnings = [
          ...whole.warnings,
          ...(mixed ? [mixedScales] : []),
          ...(counts.groupsLeftOut > 0 ? [cut] : []),
        ];
        return metricResponse({
          metric: surveyScore.name,
          currency: null,
          scope,
          firstFact,
          result: { ...whole, groups, warnings },
          excluded: excluded.whole,
          complete: hasEnded(scope.to, scope.asOf),
          series: seriesPoints(buckets, counts.series.map(surveyScore.judge), excluded.series),
        });
      },
    },
    {
      family: surveyScore.type,
      // The latest of each customer over two windows and over both together would tell what those answered who are in both.
      fixed: { answers: 'all' },
      values: /./,
    },
  );
}

export const getNetPromoterScore = metric(nps, {
  name: 'getNetPromoterScore',
  summary: 'Net Promoter Score',
  description:
    '100 × (promoters − detractors) ÷ answers, −100…100, to a 0–10 question: 9–10 are promoters, 7–8 passives, 0–6 detractors. `interval` is the adjusted Wald interval. `values`: `promoters, passives, detractors` and `promoterShare, passiveShare, detractorShare` (0–1).',
});
export const getCustomerSatisfaction = metric(csat, {
  name: 'getCustomerSatisfaction',
  summary: 'Customer satisfaction',
  description:
    '100 × satisfied ÷ answers, 0–100. Satisfied are the scores in the top box that is stored with the question (4–5 on 1–5). Answers on different scales are counted together, with the warning `mixed_scales`. `interval` is a Wilson interval. `values`: `satisfied, answers`.',
});
export const getCustomerEffort = metric(ces, {
  name: 'getCustomerEffort',
  summary: 'Customer effort score',
  description:
    '100 × (easy − hard) ÷ answers, −100…100: more is easier, whatever the direction of the scale stored with the question. Answers on different scales are counted together, with the warning `mixed_scales`. `interval` is the adjusted Wald interval. `values`: `easy, neutral, hard` and `easyShare, neutralShare, hardShare` (0–1).',
});

/** A page of the answers that are counted. `name` tells its cursors from those of other lists. */
async function pageOfAnswers(
  context: Context,
  surveyScore: SurveyScore,
  { name, withTexts }: { name: string; withTexts: boolean },
  { limit = defaultLimit, after, count, cursors, ...input }: ScoreListInput,
) {
  requireScope(context, 'survey-responses:read');
  const { group = null, sort = '-answeredAt', band } = input;
  checkGroup(input.groupBy, group);
  const cursorScope = JSON.stringify([context.principal.key, name, sort, input]);
  const position = after === undefined ? null : pageStart(context.cursors.decode(after, cursorScope));
  const question = await resolve(context, surveyScore, { ...input, asOf: input.asOf ?? position?.asOf });
  const selection = {
    // The input has the bands of the metric.
    band: band === undefined ? null : storedBand(band as AnswerBand).band,
    group,
    withTexts,
  };
  const place = { descending: sort.startsWith('-'), after: position && { ...position, answeredAt: position.mark } };
  const [rows, total] = await Promise.all([
    listAnswers(context.db, question, selection, place, limit),
    count ? countAnswers(context.db, question, selection) : undefined,
  ]);
  const cursor = ({ answeredAt, id }: ListedAnswer) =>
    context.cursors.encode({ scope: cursorScope, key: pageKey(answeredAt, question.scope.asOf, id) });
  return pageFrom(rows, { limit, cursor, total, cursors });
}

const judged = ({ question, score }: ListedAnswer, band: AnswerBand) => ({ question, score, band });

function bandOf(type: ScoreType, { id, band }: ListedAnswer): AnswerBand {
  const name = bandName(type, band);
  if (!name) throw new Error(`The answer of response ${id} has no band`);
  return name;
}

function members(surveyScore: SurveyScore, told: { name: string; summary: string }) {
  return readOperation({
    ...told,
    description: `Exactly the answers that the metric counts for the same input, with their responses. Needs the scope \`survey-responses:read\` as well. Without \`asOf\` all pages are as of the first one.\n${population}`,
    scope: 'metrics:read',
    partners: false,
    selfService: false,
    input: scoreListInputs[surveyScore.type],
    output: scoreMemberPage,
    problems: ['not_found'],
    async run(context, input) {
      const { data, page } = await pageOfAnswers(context, surveyScore, { name: told.name, withTexts: false }, input);
      const responses = await responsesByIds(
        context.db,
        data.map(({ id }) => id),
      );
      return {
        data: data.flatMap((row): ScoreMember[] => {
          const response = responses.get(row.id);
          // Deleted since the page was read.
          if (!response) return [];
          return [{ ...judged(row, bandOf(surveyScore.type, row)), response }];
        }),
        page,
      };
    },
  });
}

function reasons(surveyScore: SurveyScore, told: { name: string; summary: string }) {
  return readOperation({
    ...told,
    description: `Why: the answers that the metric counts whose response has text answers too, with these texts (personal data), the newest first. Needs the scope \`survey-responses:read\` as well. Without \`asOf\` all pages are as of the first one.\n${population}`,
    scope: 'metrics:read',
    partners: false,
    selfService: false,
    input: scoreListInputs[surveyScore.type],
    output: scoreReasonPage,
    problems: ['not_found'],
    async run(context, input) {
      const { data, page } = await pageOfAnswers(context, surveyScore, { name: told.name, withTexts: true }, input);
      return {
        data: data.map((row): ScoreReason => {
          const { id: responseId, surveyId, customerId, answeredAt, staff, texts } = row;
          return {
            responseId,
            surveyId,
            customerId,
            answeredAt,
            ...judged(row, bandOf(surveyScore.type, row)),
            staff,
            texts,
          };
        }),
        page,
      };
    },
  });
}

export const listNetPromoterScoreMembers = members(nps, {
  name: 'listNetPromoterScoreMembers',
  summary: 'Answers behind the Net Promoter Score',
});
export const listCustomerSatisfactionMembers = members(csat, {
  name: 'listCustomerSatisfactionMembers',
  summary: 'Answers behind customer satisfaction',
});
export const listCustomerEffortMembers = members(ces, {
  name: 'listCustomerEffortMembers',
  summary: 'Answers behind the customer effort score',
});
export const listNetPromoterScoreReasons = reasons(nps, {
  name: 'listNetPromoterScoreReasons',
  summary: 'Reasons given with 0–10 scores',
});
export const listCustomerSatisfactionReasons = reasons(csat, {
  name: 'listCustomerSatisfactionReasons',
  summary: 'Reasons given with satisfaction scores',
});
export const listCustomerEffortReasons = reasons(ces, {
  name: 'listCustomerEffortReasons',
  summary: 'Reasons given with effort scores',
});
