import { sql } from 'drizzle-orm';
import { pointsOf, unitsOf } from '../../domain/lead-score.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import type { ScoreGrade } from './grade.ts';
import type { ScoringRules } from './queries.ts';
import type { RuleSetPreview } from './record.ts';
import { scoreQuery } from './score-sql.ts';

interface PreviewRow {
  /** [from, to, leads, change of all of them in grid units as text] */
  grades: [ScoreGrade, ScoreGrade, number, string][] | null;
  /** [lead, from, to, score before, score after] in grid units */
  moves: [string, ScoreGrade, ScoreGrade, number, number][] | null;
}

/** Scores all open leads under both rule sets, in one statement. */
export async function preview(
  db: Db,
  { before, after, asOf, limit }: { before: ScoringRules; after: ScoringRules; asOf: string; limit: number },
): Promise<RuleSetPreview> {
  const subject = { customerId: sql`s.customer_id`, asOf: sql`${param('asOf')}::timestamptz` };
  const grade = ({ document: { grades } }: ScoringRules, score: string) =>
    sql`case when ${sql.raw(score)} >= ${unitsOf(grades.A)}::bigint then 'A' when ${sql.raw(score)} >= ${unitsOf(grades.B)}::bigint then 'B'
      when ${sql.raw(score)} >= ${unitsOf(grades.C)}::bigint then 'C' else 'D' end`;
  const query = statement<PreviewRow>(
    'preview',
    sql`with scores as materialized (
        select s.customer_id as id, a.score as before, b.score as after, ${grade(before, 'a.score')} as "from", ${grade(after, 'b.score')} as "to"
        from leads s cross join lateral (${scoreQuery(before.document, subject)}) a
          cross join lateral (${scoreQuery(after.document, subject)}) b
        where s.stage in ('subscriber', 'lead', 'marketing_qualified', 'sales_qualified')
      )
      select (select json_agg(json_build_array("from", "to", leads, change) order by "from", "to")
          from (select "from", "to", count(*) as leads, sum(after - before)::text as change from scores group by 1, 2) g) as grades,
        (select json_agg(json_build_array(id, "from", "to", before, after) order by abs(after - before) desc, id)
          from (select * from scores where "from" <> "to" order by abs(after - before) desc, id limit ${param('limit')}::int) m) as moves`,
  );
  // Not prepared: nobody asks twice.
  const row = await db.first({ ...query, unprepared: true }, { asOf, limit });
  const grades = row?.grades ?? [];
  const leads = grades.reduce((sum, [, , count]) => sum + count, 0);
  const change = grades.reduce((sum, [, , , units]) => sum + Number(units), 0);
  return {
    ruleSetId: after.id,
    comparedWith: before.id,
    asOf,
    leads,
    moved: grades.reduce((sum, [from, to, count]) => (from === to ? sum : sum + count), 0),
    meanChange: leads === 0 ? null : pointsOf(change) / leads,
    grades: grades.map(([from, to, count]) => ({ from, to, leads: count })),
    moves: (row?.moves ?? []).map(([leadId, from, to, scoreBefore, scoreAfter]) => ({
      leadId,
      from,
      to,
      scoreBefore: pointsOf(scoreBefore),
      scoreAfter: pointsOf(scoreAfter),
    })),
  };
}
