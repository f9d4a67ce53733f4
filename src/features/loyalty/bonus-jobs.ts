import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { anniversaries, birthdays, type Occasion } from '../../domain/loyalty-occasions.ts';
import { addDays, isBefore } from '../../domain/period.ts';
import { localDateOf } from '../../domain/preceding-period.ts';
import { type Db, param, statement, transaction } from '../../platform/db/client.ts';
import { type AnyJob, job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { lockCustomers } from '../customers/queries.ts';
import { bonusEntitlements } from './earning-queries.ts';
import { earningDates, earningRules } from './earning-rules.ts';
import { recompute } from './ledger.ts';
import { openAccounts } from './open-accounts.ts';
import { recomputeReferral } from './referrals.ts';
import { saveAccounts } from './save-accounts.ts';
import { sourceKey } from './source-histories.ts';

/** So many days late a bonus still comes, if the service was down on the day itself. */
const caughtUpDays = 7;
const step = 200;

interface Candidate {
  customerId: string;
  birthday: string | null;
  joinedOn: string;
}

const dayOf = (column: 'c.birthday' | 'a.joined_on') =>
  sql.raw(`(extract(month from ${column}) * 100 + extract(day from ${column}))`);

const bonusOf = (kind: 'birthday' | 'anniversary') =>
  sql`exists (select from loyalty_programme_versions v where v.programme_id = a.programme_id
    and jsonb_typeof(v.rules->'bonuses'->${sql.raw(`'${kind}'`)}) = 'number')`;

/** Members with an occasion on one of the days, of programmes that ever gave a bonus for it. */
const candidates = {
  birthday: statement<Candidate>(
    'loyalty_birthdays',
    sql`select a.customer_id as "customerId", c.birthday, a.joined_on as "joinedOn"
      from customers c join loyalty_accounts a on a.customer_id = c.id
      where c.birthday is not null and ${dayOf('c.birthday')} = any(${param('days')}::numeric[])
        and a.customer_id > ${param('after')}::uuid and ${bonusOf('birthday')}
      order by a.customer_id limit ${param('limit')}::int`,
  ),
  anniversary: statement<Candidate>(
    'loyalty_anniversaries',
    sql`select a.customer_id as "customerId", null as birthday, a.joined_on as "joinedOn" from loyalty_accounts a
      where ${dayOf('a.joined_on')} = any(${param('days')}::numeric[])
        and a.customer_id > ${param('after')}::uuid and ${bonusOf('anniversary')}
      order by a.customer_id limit ${param('limit')}::int`,
  ),
};

type Kind = keyof typeof candidates;

/**
 * Birthdays and anniversaries of joining, from the local midnight of the day on. What is there already is left alone, so
 * a day may be looked at any number of times.
 */
export const grantLoyaltyBonuses = job({
  name: 'grantLoyaltyBonuses',
  payload: z.strictObject({}),
  recurring: '11 * * * *',
  run: async (services, _, { now, signal }) => {
    for (const kind of ['birthday', 'anniversary'] as const) {
      const days = daysUntil(now, services.reportingTimeZone);
      for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
        signal.throwIfAborted();
        const found = await services.db.all(candidates[kind], { days, after, limit: step });
        const last = found.at(-1);
        if (!last) break;
        after = last.customerId;
        await grant(services, kind, found, now);
      }
    }
  },
});

/** The local dates looked at, as month × 100 + day. 28 February stands in for the 29th. */
function daysUntil(now: string, timeZone: string): number[] {
  const days = new Set<number>();
  for (let ago = 0; ago <= caughtUpDays + 1; ago += 1) {
    const date = localDateOf(addDays(now, -ago), timeZone);
    const day = Number(date.slice(5, 7)) * 100 + Number(date.slice(8));
    days.add(day);
    if (day === 228) days.add(229);
  }
  return [...days];
}

async function grant(services: Services, kind: Kind, found: Candidate[], now: string): Promise<void> {
  const due = found.flatMap((candidate) =>
    occasionsOf(candidate, kind, now, services.reportingTimeZone).map((occasion) => ({ ...candidate, ...occasion })),
  );
  const open = await withoutBonus(services.db, due);
  if (open.length === 0) return;
  await transaction(services.pool, async (tx) => {
    const ids = open.map(({ customerId }) => customerId);
    await lockCustomers(tx, ids);
    const accounts = await openAccounts(tx, { now }, ids, { lots: false });
    for (const { customerId, key, at } of await withoutBonus(tx, open)) {
      const account = accounts.get(customerId);
      if (!account || isBefore(at, account.row.joinedAt)) continue;
      const rules = earningRules(account.programme, at);
      const points = rules?.bonuses[kind] ?? 0;
      const history = { net: 0, expired: 0 };
      const change = {
        before: 0,
        after: points,
        history,
        dates: earningDates(rules, at, services.reportingTimeZone),
        by: kind,
      };
      recompute(account, { bonusKey: key }, change);
    }
    saveAccounts(tx, accounts.values());
  });
}

function occasionsOf({ birthday, joinedOn }: Candidate, kind: Kind, now: string, timeZone: string): Occasion[] {
  const after = addDays(now, -caughtUpDays);
  if (kind === 'anniversary') return anniversaries(joinedOn, after, now, timeZone);
  return birthday === null ? [] : birthdays(birthday, after, now, timeZone);
}

async function withoutBonus<Due extends { customerId: string; key: string }>(db: Db, due: Due[]): Promise<Due[]> {
  const known = await bonusEntitlements(
    db,
    due.map(({ customerId, key }) => ({ customerId, bonusKey: key })),
  );
  return due.filter(({ customerId, key }) => !known.has(sourceKey(customerId, { bonusKey: key })));
}

/** The jobs behind bonuses. */
export const loyaltyBonusJobs: readonly AnyJob[] = [grantLoyaltyBonuses, recomputeReferral];
