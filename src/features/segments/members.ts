import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { isBefore } from '../../domain/period.ts';
import { param, poolDb, statement, transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { id } from '../../platform/values.ts';
import { conditionOf, readQuestion } from '../../records/condition-query.ts';
import { isSomebody } from '../../records/nobody.ts';
import { customers } from '../customers/record.ts';
import { lockSegment } from './queries.ts';
import { segments } from './record.ts';

/*
 * Who has entered and left segments: a job works out the members of every tree, compares them with those before, and keeps the
 * differences with their time.
 */

const trees = statement<{ id: string }>(
  'segments_with_trees',
  sql`select id from ${segments} where kind = 'tree' and ${segments.id} > ${param('after')}::uuid order by id limit 1`,
);

/** Works out the members of one segment, or of all. */
export const keepSegmentMembers = job({
  name: 'keepSegmentMembers',
  payload: z.strictObject({ id: id.optional() }),
  recurring: '*/5 * * * *',
  queue: 'segments',
  async run(services, { id: one }, { now, signal, log }) {
    if (one !== undefined) return keepMembers(services, one, now);
    const db = poolDb(services.pool);
    for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
      signal.throwIfAborted();
      const next = await db.first(trees, { after });
      if (!next) return;
      after = next.id;
      // One that cannot be worked out does not hold up the others.
      await keepMembers(services, after, now).catch((error: unknown) => {
        log.error({ err: error, segment: after }, 'the members of a segment could not be worked out');
      });
    }
  },
});

async function keepMembers({ pool, reportingTimeZone }: Services, segmentId: string, now: string): Promise<void> {
  await transaction(pool, async (tx) => {
    const segment = await lockSegment(tx, segmentId);
    if (!segment || segment.kind === 'list') return;
    // Times of a segment never go back, whatever clocks say.
    const at = segment.membersAt !== null && isBefore(now, segment.membersAt) ? segment.membersAt : now;
    const question = await readQuestion(tx, segment.filter, '').catch((error: unknown) => {
      // What it names may be gone since: it keeps the members that it had.
      if (error instanceof Problem) return null;
      throw error;
    });
    if (!question) return;
    const condition = await conditionOf(tx, question, { row: sql`${customers}`, asOf: at, now: at, reportingTimeZone });
    const differ = statement(
      'keep_segment_members',
      sql`with present as materialized (
          select ${customers.id} as id from ${customers} where ${isSomebody(sql`${customers.id}`)} and ${condition}
        ), gone as (
          update segment_members m set left_at = ${at}::timestamptz
            where m.segment_id = ${segmentId}::uuid and m.left_at is null and not exists (select from present p where p.id = m.customer_id)
        ), come as (
          insert into segment_members (customer_id, id, segment_id, entered_at)
            select p.id, gen_random_uuid(), ${segmentId}::uuid, ${at}::timestamptz from present p
            where not exists (select from segment_members m where m.segment_id = ${segmentId}::uuid and m.left_at is null and m.customer_id = p.id)
        )
        update segments set size = (select count(*) from present), members_at = ${at}::timestamptz,
          kept_from = coalesce(kept_from, ${at}::timestamptz) where id = ${segmentId}::uuid`,
      { unprepared: true },
    );
    await tx.all(differ);
  });
}
