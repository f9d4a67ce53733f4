import { sql } from 'drizzle-orm';
import { gradeOf, pointsOf } from '../../domain/lead-score.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import type { InteractionKind } from '../interactions/record.ts';
import { compiled, type ScoringRules } from './queries.ts';
import type { LeadScoreAnswer } from './record.ts';
import { evidenceQuery, profileValuesSql, scoreQuery } from './score-sql.ts';

type EvidenceTuple = [
  id: string,
  kind: InteractionKind,
  occurredAt: string,
  topic: string | null,
  channel: string | null,
  units: number,
];

interface DetailRow {
  id: string;
  score: number;
  fit: number;
  intent: number;
  fitSum: number;
  intentSum: number;
  units: number[];
  uncapped: number[];
  applies: boolean[];
  profile: Record<string, string | null>;
  /** By the rule's place: all that count, and the latest of them. */
  evidence: Record<string, [count: number, EvidenceTuple[]]> | null;
}

/** What the rules say; the learned score stands beside it in the answer. */
export type RuleScored = Omit<LeadScoreAnswer, 'learned' | 'learnedReason'>;

/** The scores of those of these customers who are leads, with all that stands behind them; one statement. */
export async function scoreDetails(
  db: Db,
  rules: ScoringRules,
  ids: string[],
  asOf: string,
): Promise<Map<string, RuleScored>> {
  const { document } = rules;
  const query = compiled<DetailRow>(rules, 'details', () => {
    const subject = { customerId: sql`s.customer_id`, asOf: sql`${param('asOf')}::timestamptz` };
    const evidence = evidenceQuery(document, subject);
    return sql`select s.customer_id as id, x.score, x.fit, x.intent, x.fit_sum as "fitSum", x.intent_sum as "intentSum", x.units, x.uncapped, x.applies,
        (select ${profileValuesSql(document)} from customers c left join leads l on l.customer_id = c.id where c.id = s.customer_id) as profile,
        ${evidence === null ? sql`null::json` : sql`(select json_object_agg(e.rule, json_build_array(e.count, e.evidence)) from (${evidence}) e)`} as evidence
      from (select customer_id from leads where customer_id = any(${param('ids')}::uuid[])) s
        cross join lateral (${scoreQuery(document, subject)}) x`;
  });
  const rows = ids.length === 0 ? [] : await db.all(query, { ids, asOf });
  return new Map(rows.map((row) => [row.id, scoreWithReasons(rules, row, asOf)]));
}

function scoreWithReasons({ id, number, document }: ScoringRules, row: DetailRow, asOf: string): RuleScored {
  const score = pointsOf(row.score);
  const contributions = document.rules.flatMap(({ name, group, when = [] }, index) => {
    if (!row.applies[index]) return [];
    const [evidenceCount, evidence] = row.evidence?.[index] ?? [0, []];
    return [
      {
        rule: name,
        group,
        kind: 'rule' as const,
        points: pointsOf(row.units[index] ?? 0),
        uncapped: pointsOf(row.uncapped[index] ?? 0),
        profile: [...new Set(when.map(({ field }) => field))].map((field) => ({
          field,
          value: row.profile[field] ?? null,
        })),
        evidence: evidence.map(([interactionId, kind, occurredAt, topic, channel, units]) => ({
          interactionId,
          kind,
          occurredAt: canonicalInstant(occurredAt),
          topic,
          channel,
          points: pointsOf(units),
        })),
        evidenceCount,
      },
    ];
  });
  const caps = (['fit', 'intent'] as const).flatMap((group) => {
    const taken = pointsOf(group === 'fit' ? row.fit - row.fitSum : row.intent - row.intentSum);
    if (taken === 0) return [];
    return [
      {
        rule: group,
        group,
        kind: 'group_cap' as const,
        points: taken,
        uncapped: taken,
        profile: [],
        evidence: [],
        evidenceCount: 0,
      },
    ];
  });
  return {
    leadId: row.id,
    asOf,
    rule: {
      ruleSetId: id,
      number,
      score,
      grade: gradeOf(document.grades, score),
      fit: pointsOf(row.fit),
      intent: pointsOf(row.intent),
      contributions: [...contributions, ...caps],
    },
  };
}
