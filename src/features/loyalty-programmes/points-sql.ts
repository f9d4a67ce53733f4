import { type SQL, sql } from 'drizzle-orm';
import { type LoyaltyRules, mostPoints } from '../../domain/loyalty-earning.ts';
import { parseDecimal } from '../../domain/money.ts';
import { isBefore } from '../../domain/period.ts';

/** Multipliers and points per unit have four decimal places at most: here they are integers of this unit. */
const places = 4;
const unit = 10n ** BigInt(places);

/**
 * `pointsOfOrder` (domain/loyalty-earning.ts) of an order `o` with `base_revenue` > 0, in SQL: to rank many customers where
 * their orders are. Integers in `numeric`, one division and one rounding at the end, so it is the same to the last
 * point; a property test compares them. Two things it leaves out, as only a replay knows them: which goods of a refunded order
 * are left (all lines count as they were), and returns that name no order.
 */
export function pointsSql(rules: LoyaltyRules, tierKey: string | null, baseCurrencyExponent: number): SQL {
  const level = rules.tiers?.levels.find(({ key }) => key === tierKey);
  const constant = unitsOf(rules.pointsPerUnit) * unitsOf(level?.multiplier ?? 1);
  const campaigns = rules.campaigns.map(({ from, to, campaignId, multiplier }) => {
    const ofCampaign = campaignId == null ? sql`` : sql`and o.campaign_id = ${campaignId}::uuid`;
    return sql`case when o.placed_at >= ${from}::timestamptz and o.placed_at < ${to}::timestamptz ${ofCampaign}
      then ${String(unitsOf(multiplier))}::numeric else ${String(unit)}::numeric end`;
  });
  const numerator = sql.join(
    [
      sql`o.base_revenue::numeric`,
      sql`${String(constant)}::numeric`,
      ...campaigns,
      sql`c.weighted`,
      ...leftOut(rules, 'kept'),
    ],
    sql` * `,
  );
  const denominator = sql.join(
    [
      sql`${String(10n ** BigInt(baseCurrencyExponent) * unit ** BigInt(3 + campaigns.length))}::numeric`,
      sql`c.weights`,
      ...leftOut(rules, 'whole'),
    ],
    sql` * `,
  );
  return sql`(select least(${rounded(rules)}, ${mostPoints}::numeric)::bigint
    from (select ${numerator} as n, ${denominator} as d from (${categories(rules)}) c offset 0) f)`;
}

/** The share of the revenue that is neither shipping nor fees, where the rules leave these out: `kept` ÷ `whole`. */
function leftOut({ includeShipping, includeFees }: LoyaltyRules, part: 'kept' | 'whole'): SQL[] {
  const parts = [...(includeShipping ? [] : [sql`o.shipping`]), ...(includeFees ? [] : [sql`o.fees`])];
  if (parts.length === 0) return [];
  const whole = sql`(case when o.tax_included then o.total else o.total - o.tax end)`;
  return part === 'whole' ? [whole] : [sql`greatest(0, ${whole} - ${sql.join(parts, sql` - `)})`];
}

/**
 * What orders placed in `[from, to]` earn at most, per minor unit of the base currency, as a fraction: with the rounding of
 * each order it is no more than one point per order beyond this.
 */
export function mostPerUnit(
  { pointsPerUnit, tiers, campaigns, categories: ofCategories }: LoyaltyRules,
  { tierKey, exponent, from, to }: { tierKey: string | null; exponent: number; from: string; to: string },
): { numerator: bigint; denominator: bigint } {
  const level = tiers?.levels.find(({ key }) => key === tierKey);
  const running = campaigns.filter((campaign) => isBefore(from, campaign.to) && !isBefore(to, campaign.from));
  const factors = [
    pointsPerUnit,
    level?.multiplier ?? 1,
    ...running.map(({ multiplier }) => Math.max(1, multiplier)),
    Math.max(1, ...ofCategories.map(({ multiplier }) => multiplier)),
  ];
  return {
    numerator: factors.reduce((product, factor) => product * unitsOf(factor), 1n),
    denominator: 10n ** BigInt(exponent) * unit ** BigInt(factors.length),
  };
}

/** Of n ÷ d, both positive or n 0. */
function rounded({ rounding }: LoyaltyRules): SQL {
  switch (rounding) {
    case 'down':
      return sql`div(f.n, f.d)`;
    case 'half_up':
      return sql`div(2 * f.n + f.d, 2 * f.d)`;
    case 'up':
      return sql`div(f.n + f.d - 1, f.d)`;
  }
}

/** The weights of the lines and what they come to with the multipliers of their categories. */
function categories({ categories: rules }: LoyaltyRules): SQL {
  if (rules.length === 0) return sql`select ${String(unit)}::numeric as weighted, 1::numeric as weights`;
  const units = JSON.stringify(
    Object.fromEntries(rules.map(({ category, multiplier }) => [category, String(unitsOf(multiplier))])),
  );
  return sql`select case when w.weights > 0 then w.weighted else ${String(unit)}::numeric end as weighted, case when w.weights > 0 then w.weights else 1 end as weights
    from (select sum(i.total) as weights, sum(i.total::numeric * coalesce((${units}::jsonb ->> i.category)::numeric, ${String(unit)}::numeric)) as weighted
      from order_items i where i.customer_id = o.customer_id and i.order_id = o.id and i.total > 0) w`;
}

function unitsOf(decimal: number): bigint {
  const { digits, scale } = parseDecimal(String(decimal));
  return (digits * unit) / 10n ** BigInt(scale);
}
