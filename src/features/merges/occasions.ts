import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';

/*
 * An invitation that the step of a lead has triggered names it as `<customer>:<sequence>`, so that a step brings one
 * invitation per survey. Where steps get other numbers, occasions follow; in two statements, as they are unique.
 */

const setAside = statement(
  'set_occasions_aside',
  sql`update survey_invitations i set occasion = 'was ' || i.occasion
    from json_to_recordset(${param('changes')}::json) as n("from" text, "to" text)
    where i.customer_id = any(${param('ids')}::uuid[]) and i.occasion = n."from"`,
);
const set = statement(
  'set_occasions',
  sql`update survey_invitations i set occasion = n."to"
    from json_to_recordset(${param('changes')}::json) as n("from" text, "to" text)
    where i.customer_id = any(${param('ids')}::uuid[]) and i.occasion = 'was ' || n."from"`,
);

export interface Renumbered {
  from: string;
  to: string;
}

/** Gives the invitations of these locked customers the new names of their occasions. */
export async function renameOccasions(tx: Transaction, ids: string[], changes: Renumbered[]): Promise<void> {
  const real = changes.filter(({ from, to }) => from !== to);
  if (real.length === 0) return;
  const values = { ids, changes: JSON.stringify(real) };
  await tx.all(setAside, values);
  await tx.all(set, values);
}
