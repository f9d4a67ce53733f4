import { assertPart, type MetricResult, type Notice, named } from './metric-result.ts';
import { proportionResult } from './proportion.ts';
import { scoreDifference } from './score-difference.ts';

/** The 0–10 scores of the follow-ups whose customer answered again, added up. */
export interface ScoreSums {
  sum: number;
  promoters: number;
  detractors: number;
}

/** The follow-ups that a low answer opened in a range, as they stood at `asOf`. Cancelled ones are in none of these. */
export interface ClosedLoopCounts {
  opened: number;
  /** Closed with an outcome. */
  closed: number;
  /** Closed at their due date or before; also those that had none. */
  closedInTime: number;
  /** Open, and past their due date. */
  overdue: number;
  /** The closed ones by outcome: they add up to `closed`. */
  outcomes: Readonly<Record<string, number>>;
  /** The closed ones whose customer answered a 0–10 question again after that. */
  answeredAgain: number;
  /** Of these: the answers that opened the follow-ups. */
  before: ScoreSums;
  /** Of these: the next answers after the closing. */
  after: ScoreSums;
}

/**
 * Closing the loop: closed in time ÷ those that are closed or past their due date (0–1), with a Wilson interval. A
 * follow-up that is open and not yet due has neither kept its date nor missed it: it is in `notYetDue` only. Since those
 * closed early count at once and the others only when they are due, the rate of a range that is not all due is flattering;
 * the warning `not_all_due` says how many are missing.
 *
 * `values`: `opened, closed, closedInTime, overdue, notYetDue` and the closed ones by outcome, `outcomeRetained …`;
 * `answeredAgain` and, of these, `scoreBefore, scoreAfter, scoreChange` (means of the 0–10 scores, after − before) and
 * `npsBefore, npsAfter` (−100…100), null without any. With any, the warning `regression_to_the_mean`.
 * Null with reason `no_follow_ups` (none opened) or `none_due` (none closed or due yet).
 * @throws RangeError when the counts are not counts, do not add up, or the scores are not from 0 to 10
 */
export function closedLoop(counts: ClosedLoopCounts): MetricResult {
  const { opened, closed, closedInTime, overdue, outcomes, answeredAgain, before, after } = counts;
  assertPart(closedInTime, closed, 'closedInTime');
  assertPart(overdue, opened, 'overdue');
  assertPart(answeredAgain, closed, 'answeredAgain');
  const judged = closed + overdue;
  assertPart(judged, opened, 'closed and overdue');
  const byOutcome = named('outcome', outcomes);
  if (Object.values(outcomes).reduce((sum, count) => sum + count, 0) !== closed)
    throw new RangeError('the outcomes do not add up to the closed ones');
  const notYetDue = opened - judged;
  const scoreBefore = meanScore(before, answeredAgain);
  const scoreAfter = meanScore(after, answeredAgain);
  return proportionResult(
    closedInTime,
    judged,
    opened === 0
      ? { code: 'no_follow_ups', message: 'No follow-up was opened in the period.' }
      : { code: 'none_due', message: 'No follow-up of the period is closed or past its due date yet.' },
    {
      values: {
        opened,
        closed,
        closedInTime,
        overdue,
        notYetDue,
        ...byOutcome,
        answeredAgain,
        scoreBefore,
        scoreAfter,
        scoreChange: answeredAgain === 0 ? null : (after.sum - before.sum) / answeredAgain,
        npsBefore: nps(before, answeredAgain),
        npsAfter: nps(after, answeredAgain),
      },
      warnings: warningsOf(judged, notYetDue, answeredAgain),
    },
  );
}

function meanScore({ sum }: ScoreSums, answers: number): number | null {
  assertPart(sum, 10 * answers, 'the sum of the scores');
  return answers === 0 ? null : sum / answers;
}

function nps({ promoters, detractors }: ScoreSums, answers: number): number | null {
  return scoreDifference({ good: promoters, middle: answers - promoters - detractors, bad: detractors }).value;
}

function warningsOf(judged: number, notYetDue: number, answeredAgain: number): Notice[] {
  const found: Notice[] = [];
  if (judged > 0 && notYetDue > 0)
    found.push({
      code: 'not_all_due',
      message: `${notYetDue} of the follow-ups are open and not yet due, and in no part of the rate.`,
    });
  if (answeredAgain > 0)
    found.push({
      code: 'regression_to_the_mean',
      message:
        'The first scores were chosen for being low, and such scores rise by chance too: the change is not all the effect of the follow-ups.',
    });
  return found;
}
