import type { Db } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';

/** What the rule set in force says of a lead. */
export interface LeadScore {
  score: number;
  grade: 'A' | 'B' | 'C' | 'D';
}

/** Score and grade at `context.now` of these leads, by id; two statements whatever their number. */
export async function scoresOf(_db: Db, _context: Context, _ids: string[]): Promise<Map<string, LeadScore>> {
  return new Map();
}

/** A lead whose score has reached a threshold of the rule set in force, and that stands in a stage before it. */
export interface QualifiedLead {
  id: string;
  from: 'subscriber' | 'lead' | 'marketing_qualified';
  to: 'marketing_qualified' | 'sales_qualified';
  score: number;
}

/**
 * Leads before the stage that their score at `context.now` entitles them to, in id order, at most `limit`. Of `ids` only,
 * when given: to look again at leads that have been locked.
 */
export async function qualifiedLeads(
  _db: Db,
  _context: Context,
  _selection: { ids?: string[]; after?: string; limit: number },
): Promise<QualifiedLead[]> {
  return [];
}
