import { netLeft } from './refund-oracle.ts';

/**
 * What members of a loyalty programme have, by replaying everything that happened to them one after the other, lot by
 * lot, from the description of the programme alone. Nothing is ever settled, posted or stored here: a lot is a list of
 * movements and counts while its dates say so, and a balance is added up anew for every instant. It shares no code with
 * the service. Instants are microseconds since 1970. What orders are entitled to and the tiers are worked out anew from
 * everything that is known, every time: what came first does not matter. Only the lots remember.
 */

export const day = 86_400_000_000;

export interface OracleRules {
  pointsPerUnit: number;
  rounding: 'down' | 'half_up' | 'up';
  earnOn: 'paid' | 'fulfilled';
  pendingDays: number;
  expiryDays: number | null;
  /** A day in UTC, `2026-12-31`. */
  expiresOn?: string | null;
  /** In UTC. */
  expiresAtEndOf?: 'day' | 'month' | 'year' | null;
  tierOnRefund?: 'recompute' | 'keep';
  refundPolicy: 'only_pending' | 'within_balance' | 'allow_negative';
  categories: { category: string; multiplier: number }[];
  campaigns: { name: string; from: number; to: number; campaignId: string | null; multiplier: number }[];
  tiers: TierRules | null;
  bonuses: {
    welcome?: number;
    birthday?: number;
    anniversary?: number;
    purchase?: { count: number; points: number };
    referral?: { referrer: number; referee: number };
  };
  pointValue: number;
  includeShipping?: boolean;
  includeFees?: boolean;
}

interface TierRules {
  basis: 'spend' | 'points';
  windowDays: number;
  periodDays: number;
  graceDays: number;
  reachingOrder?: 'former_tier' | 'new_tier';
  levels: { key: string; name: string; threshold: number; multiplier: number }[];
}

export interface OracleProgramme {
  versions: { validFrom: number; rules: OracleRules }[];
  endedAt: number | null;
}

/** An order as it is now. */
export interface OracleOrder {
  id: string;
  /** By it ties of `placedAt` are broken: source and external id. */
  name: string;
  placedAt: number;
  currency: string;
  /** Worth so many hundredths of the base currency; null: no rate yet. */
  rate: number | null;
  total: number;
  tax: number;
  taxIncluded: boolean;
  shipping: number;
  fees: number;
  cancelled: boolean;
  test: boolean;
  paid: boolean;
  fulfilled: boolean;
  campaignId: string | null;
  items: { externalId?: string; sku: string; category: string | null; quantity: number; total: number }[];
  /** In the order in which they were given. */
  refunds: OracleRefund[];
}

interface OracleRefund {
  amount: number;
  tax?: number | null;
  shipping?: number | null;
  items?: OracleItem[];
}

/** Goods that come back: of a line by its id, its position from 0 or its sku. */
export interface OracleItem {
  externalId?: string;
  line?: number;
  sku?: string;
  quantity: number;
  /** null: what so many cost. */
  total: number | null;
}

/** Goods that came back, of no order in particular. */
export interface OracleReturn {
  name: string;
  returnedAt: number;
  currency: string;
  total: number;
  items: OracleItem[];
}

interface Movement {
  points: number;
  at: number;
}

interface Lot {
  /** `order …`, `bonus …`, or nothing. */
  source: string | null;
  earnedAt: number;
  activeAt: number;
  expiresAt: number;
  /** Of points that were credited before: transferred here, or given back. */
  isAgain?: boolean;
  /** The first one is the credit. */
  movements: (Movement & { isTakenBack?: boolean })[];
}

interface TierStep {
  at: number;
  tier: string;
  reason: string;
  endsAt: number | null;
  /** Of a tier set by hand, as long as it is: the level that orders had reached. */
  reachedByOrders?: string;
}

interface Entitlement {
  points: number;
  spend: number;
  placedAt: number;
}

/** A tier set by hand. */
interface HandSet {
  at: number;
  tier: string;
  endsAt: number | null;
}

/** What a spending took, for its undoing. */
export interface Taking {
  lots: { lot: Lot; points: number }[];
}

export interface OracleMember {
  programme: OracleProgramme;
  joinedAt: number;
  birthday: string | null;
  lots: Lot[];
  debt: Movement[];
  /** All of the customer, as they are now. */
  orders: Map<string, OracleOrder>;
  /** Theirs as well. */
  returns: OracleReturn[];
  /** Tiers set by hand. */
  handSet: HandSet[];
  /** What orders once counted for tiers, by order: rules that keep it need it. */
  counted: Map<string, Entitlement>;
  /** When they became a member: the rules of that moment have the first tier. */
  enrolledAt: number;
  /** By order. */
  entitlements: Map<string, number>;
  /** What bonuses are entitled to, by key. */
  bonuses: Map<string, number>;
  /** Σ points of what an order or bonus earned and lost. */
  net: Map<string, number>;
  /** What was taken back, in this order. */
  reversals: { points: number; lapsed: number; waived: number; entitled: number }[];
  referralRewarded: boolean;
}

export interface OracleStanding {
  active: number;
  pending: number;
  debt: number;
  tier: string | null;
  tierEndsAt: number | null;
  tierInGrace: boolean;
}

const never = Number.POSITIVE_INFINITY;

export function rulesIn(programme: OracleProgramme, t: number): OracleRules | null {
  let found: OracleRules | null = null;
  for (const { validFrom, rules } of programme.versions) if (validFrom <= t) found = rules;
  return found;
}

function earningRulesIn(programme: OracleProgramme, t: number): OracleRules | null {
  return programme.endedAt !== null && programme.endedAt <= t ? null : rulesIn(programme, t);
}

/** Exactly: a numerator and a denominator above 0. */
type Exact = readonly [bigint, bigint];
const exact = (n: number | bigint): Exact => [BigInt(n), 1n];
const zero = exact(0);
const plus = (a: Exact, b: Exact): Exact => [a[0] * b[1] + b[0] * a[1], a[1] * b[1]];
const minus = (a: Exact, b: Exact): Exact => [a[0] * b[1] - b[0] * a[1], a[1] * b[1]];
const times = (a: Exact, b: Exact): Exact => [a[0] * b[0], a[1] * b[1]];
const over = (a: Exact, b: Exact): Exact => (b[0] > 0n ? [a[0] * b[1], a[1] * b[0]] : [-a[0] * b[1], -a[1] * b[0]]);
const isMore = (a: Exact, b: Exact) => a[0] * b[1] > b[0] * a[1];
const less = (a: Exact, b: Exact) => (isMore(a, b) ? b : a);
const more = (a: Exact, b: Exact) => (isMore(a, b) ? a : b);
const total = (all: readonly Exact[]) => all.reduce(plus, zero);
/** A decimal with at most six places. */
const decimal = (n: number): Exact => [BigInt(Math.round(n * 1e6)), 1_000_000n];

/** What is left of an order: what things are worth is net of tax, in the order's own cents. */
interface Goods {
  order: OracleOrder;
  /** What the lines were after the negative ones, and what is left of them; as they are priced. */
  first: Exact[];
  left: Exact[];
  /** Money, with tax, and the tax in it. */
  gross: number;
  tax: number;
  shipping: Exact;
  /** Net worth of goods that went back for less money. */
  forgone: Exact;
}

/** What all lines together cost the buyer, by the unit of their prices. */
function goodsPrice({ total: all, tax, taxIncluded, shipping, fees }: OracleOrder): number {
  return Math.max(0, all - shipping - fees - (taxIncluded ? 0 : tax));
}

function unpack(order: OracleOrder): Goods {
  const left = order.items.map((item) => exact(Math.max(0, item.total)));
  for (const item of order.items) {
    if (item.total >= 0) continue;
    let missing = exact(-item.total);
    const alike = [
      order.items.map((other) => other.sku === item.sku),
      order.items.map((other) => item.category !== null && other.category === item.category),
    ];
    for (const isAlike of alike) {
      for (const [n, isOne] of isAlike.entries()) {
        const part = isOne ? less(left[n] ?? zero, missing) : zero;
        left[n] = minus(left[n] ?? zero, part);
        missing = minus(missing, part);
      }
    }
    spread(left, missing);
  }
  return {
    order,
    first: [...left],
    left,
    gross: order.total,
    tax: order.tax,
    shipping: exact(order.shipping),
    forgone: zero,
  };
}

/** Takes it from all of them alike. */
function spread(left: Exact[], amount: Exact): void {
  const has = total(left);
  if (has[0] <= 0n) return;
  const rest = more(zero, minus(has, amount));
  for (const [n, one] of left.entries()) left[n] = over(times(one, rest), has);
}

/** What a unit of a line's price cost. */
function priceFactor({ order, first }: Goods): Exact {
  const has = total(first);
  return has[0] > 0n ? over(exact(goodsPrice(order)), has) : zero;
}

/** The lines that an item may mean. */
function linesMeant({ externalId, line, sku }: OracleItem, { items }: OracleOrder): boolean[] {
  const isNamed = items.map((one) => externalId !== undefined && one.externalId === externalId);
  if (isNamed.includes(true)) return isNamed;
  if (line !== undefined && line < items.length) return items.map((_, n) => n === line);
  return items.map((one) => one.sku === sku);
}

/**
 * Takes an item, of which only a share is still looked for, from the lines that it may mean.
 * @returns the price of what was taken, as the lines are priced, and the share that was not found
 */
function takeItem(goods: Goods, item: OracleItem, looked = exact(1)): { taken: Exact; share: Exact } {
  const { quantity, total: asked } = item;
  const isMeant = linesMeant(item, goods.order);
  let taken = zero;
  let share = looked;
  for (const [n, line] of goods.order.items.entries()) {
    if (!isMeant[n] || line.total <= 0 || (asked === null && line.quantity === 0)) continue;
    const whole =
      asked === null ? over(times(exact(line.total), decimal(quantity)), decimal(line.quantity)) : exact(asked);
    if (whole[0] <= 0n) continue;
    const part = less(times(whole, share), goods.left[n] ?? zero);
    goods.left[n] = minus(goods.left[n] ?? zero, part);
    taken = plus(taken, part);
    share = minus(share, over(part, whole));
  }
  return { taken, share };
}

/** Money goes back, and with it goods, as much of which has been taken from the lines already. */
function giveMoney(goods: Goods, refund: OracleRefund, taken: Exact): void {
  const { order } = goods;
  const netBefore = goods.gross - goods.tax;
  const nets = netLeft({ total: goods.gross, tax: goods.tax }, [refund]);
  goods.gross -= refund.amount;
  goods.tax = goods.gross - nets;
  const money = exact(order.taxIncluded ? refund.amount : netBefore - nets);
  const factor = priceFactor(goods);
  const worth = times(taken, factor);
  const dear = minus(worth, money);
  // Whole cents: what is less is rounding of the shop.
  if (isMore(dear, zero)) goods.forgone = plus(goods.forgone, netOf(order, exact(dear[0] / dear[1])));
  let rest = more(zero, minus(money, worth));
  const ofShipping = less(less(rest, exact(refund.shipping ?? 0)), goods.shipping);
  goods.shipping = minus(goods.shipping, ofShipping);
  rest = minus(rest, ofShipping);
  if (isMore(rest, zero)) {
    if (isMore(factor, zero)) spread(goods.left, over(rest, factor));
    else spread(goods.left, total(goods.left));
  }
}

const netOf = ({ total: all, tax, taxIncluded }: OracleOrder, amount: Exact) =>
  taxIncluded && all > 0 ? over(times(amount, exact(all - tax)), exact(all)) : amount;

/** What is left of all orders after refunds, and after returns, which take from the latest ones first. */
function unpackAll(orders: OracleOrder[], returns: OracleReturn[]): Map<string, Goods> {
  const all = new Map(
    inTime(orders).map((order) => {
      const goods = unpack(order);
      for (const refund of order.refunds) {
        const taken = total((refund.items ?? []).map((item) => takeItem(goods, item).taken));
        giveMoney(goods, refund, taken);
      }
      return [order.id, goods] as const;
    }),
  );
  const sorted = [...returns].sort((a, b) => a.returnedAt - b.returnedAt || (a.name < b.name ? -1 : 1));
  for (const { returnedAt, currency, total: amount, items } of sorted) {
    const open = [...all.values()]
      .filter(({ order }) => order.placedAt <= returnedAt && order.currency === currency && qualifies(order))
      .reverse();
    let money = amount;
    const parts = open.map((goods) => ({ goods, amount: 0, taken: zero }));
    for (const item of items) {
      let share = exact(1);
      for (const part of parts) {
        const done = takeItem(part.goods, item, share);
        share = done.share;
        part.taken = plus(part.taken, done.taken);
      }
    }
    for (const part of parts) {
      const { goods, taken } = part;
      const price = withTax(goods.order, times(taken, priceFactor(goods)));
      part.amount = Math.min(money, goods.gross, Number((2n * price[0] + price[1]) / (2n * price[1])));
      money -= part.amount;
    }
    for (const part of parts) {
      const { goods } = part;
      const has = goods.first.length > 0 && isMore(total(goods.first), zero);
      const price = has
        ? withTax(goods.order, times(total(goods.left), priceFactor(goods)))
        : exact(Math.max(0, goods.gross - goods.order.shipping - goods.order.fees));
      const most = Math.min(Number(price[0] / price[1]), goods.gross - part.amount);
      const more = Math.max(0, Math.min(money, most));
      part.amount += more;
      money -= more;
    }
    for (const { goods, amount: back, taken } of parts) {
      if (back > 0 || taken[0] > 0n) giveMoney(goods, { amount: back }, taken);
    }
  }
  return all;
}

const withTax = ({ total: all, tax, taxIncluded }: OracleOrder, amount: Exact) =>
  taxIncluded || all === tax ? amount : over(times(amount, exact(all)), exact(all - tax));

const refundedOf = ({ refunds }: OracleOrder) => sum(refunds.map(({ amount }) => amount));
const qualifies = (order: OracleOrder) =>
  !order.cancelled && !order.test && !(refundedOf(order) > 0 && refundedOf(order) >= order.total);

function inTime(orders: OracleOrder[]): OracleOrder[] {
  return [...orders].sort((a, b) => a.placedAt - b.placedAt || (a.name < b.name ? -1 : 1));
}

/** Cents of the base currency, halves away from zero. */
const inBase = (cents: number, { rate }: OracleOrder) =>
  rate === null ? 0 : Math.sign(cents) * Math.floor((Math.abs(cents) * rate + 50) / 100);

/** Points of what is left of an order in a base currency with two decimals. */
export function oraclePoints(rules: OracleRules, goods: Goods, tier: string | null): number {
  const { order, first, left } = goods;
  const revenue = goods.gross - goods.tax;
  const base = inBase(revenue, order);
  if (revenue <= 0 || base <= 0) return 0;
  const multiplierOf = (n: number) => {
    const rule = rules.categories.find(({ category }) => category === order.items[n]?.category);
    return decimal(rule ? rule.multiplier : 1);
  };
  const mean = (lines: Exact[], none: Exact) => {
    const has = total(lines);
    if (has[0] <= 0n) return none;
    return over(total(lines.map((line, n) => times(line, multiplierOf(n)))), has);
  };
  const usual = mean(first, exact(1));
  const worth = more(zero, minus(exact(revenue), goods.forgone));
  const shipping = less(worth, netOf(order, goods.shipping));
  const fees = less(minus(worth, shipping), netOf(order, exact(order.fees)));
  const rest = minus(minus(worth, shipping), fees);
  const hasLines = isMore(total(first), zero);
  let points = times(rest, hasLines ? mean(left, zero) : exact(1));
  if (rules.includeShipping !== false) points = plus(points, times(shipping, usual));
  if (rules.includeFees !== false) points = plus(points, times(fees, usual));
  points = times(over(points, exact(revenue)), over(exact(base), exact(100)));
  points = times(points, decimal(rules.pointsPerUnit));
  for (const level of rules.tiers?.levels ?? []) {
    if (level.key === tier) points = times(points, decimal(level.multiplier));
  }
  for (const { from, to, campaignId, multiplier } of rules.campaigns) {
    if (order.placedAt < from || order.placedAt >= to) continue;
    if (campaignId !== null && campaignId !== order.campaignId) continue;
    points = times(points, decimal(multiplier));
  }
  const [above, below] = points;
  const whole = above / below;
  const remainder = above - whole * below;
  if (remainder === 0n || rules.rounding === 'down') return Number(whole);
  return Number(rules.rounding === 'up' || 2n * remainder >= below ? whole + 1n : whole);
}

const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
const posted = (movements: readonly Movement[], t: number) =>
  sum(movements.map(({ points, at }) => (at <= t ? points : 0)));
const isActive = ({ activeAt, expiresAt }: Lot, t: number) => activeAt <= t && t < expiresAt;
/** Points may expire on a date before they could be spent. */
const isWaiting = ({ activeAt, expiresAt }: Lot, t: number) => t < activeAt && t < expiresAt;
const debtAt = (member: OracleMember, t: number) => 0 - posted(member.debt, t);

/** What is in the lot now, whatever its dates. */
const left = (lot: Lot) => sum(lot.movements.map(({ points }) => points));

/** Movements never come after the expiry, so what is left then has expired. */
const expiredOf = (lot: Lot, now: number) => (lot.expiresAt <= now ? left(lot) : 0);

/** First what expires first, then what was earned first, then what was credited first. */
function inOrder(lots: Lot[]): Lot[] {
  return [...lots].sort((a, b) => {
    if (a.expiresAt !== b.expiresAt) return a.expiresAt < b.expiresAt ? -1 : 1;
    return a.earnedAt - b.earnedAt;
  });
}

const byActivation = (lots: Lot[]) => [...lots].sort((a, b) => a.activeAt - b.activeAt || a.earnedAt - b.earnedAt);

function credit(member: OracleMember, lot: Omit<Lot, 'movements'>, points: number, now: number): void {
  const made: Lot = { ...lot, movements: [{ points, at: lot.earnedAt }] };
  member.lots.push(made);
  const owed = 0 - sum(member.debt.map((one) => one.points));
  const at = Math.max(now, lot.earnedAt);
  const pays = at < lot.expiresAt ? Math.min(owed, points) : 0;
  if (pays === 0) return;
  made.movements.push({ points: -pays, at });
  member.debt.push({ points: pays, at });
}

/** Takes from these lots in turn. */
function take(lots: Lot[], points: number, now: number, isTakenBack: boolean): { taken: Taking; missing: number } {
  const taken: Taking = { lots: [] };
  let missing = points;
  for (const lot of lots) {
    const part = Math.min(left(lot), missing);
    if (part <= 0) continue;
    lot.movements.push({ points: -part, at: now, isTakenBack });
    taken.lots.push({ lot, points: part });
    missing -= part;
  }
  return { taken, missing };
}

function datesBy(rules: OracleRules | null, t: number) {
  const activeAt = t + (rules?.pendingDays ?? 0) * day;
  return { earnedAt: t, activeAt, expiresAt: rules ? expiryBy(rules, t, activeAt) : never };
}

function expiryBy({ expiryDays, expiresOn, expiresAtEndOf }: OracleRules, t: number, activeAt: number): number {
  if (expiresOn) return Date.parse(`${expiresOn}T00:00:00Z`) * 1000 + day;
  if (!expiresAtEndOf) return expiryDays === null ? never : t + expiryDays * day;
  const last = new Date((expiryDays === null ? activeAt : t + expiryDays * day) / 1000);
  const [year, month, date] = [last.getUTCFullYear(), last.getUTCMonth(), last.getUTCDate()];
  if (expiresAtEndOf === 'year') return Date.UTC(year + 1, 0, 1) * 1000;
  return (expiresAtEndOf === 'month' ? Date.UTC(year, month + 1, 1) : Date.UTC(year, month, date + 1)) * 1000;
}

/** An order or a bonus is worth `after` points from now on, and was worth `before`. */
function recompute(
  member: OracleMember,
  source: string,
  before: number,
  after: number,
  dates: ReturnType<typeof datesBy>,
  now: number,
): void {
  if (before === after) return;
  const net = member.net.get(source) ?? 0;
  if (after > before) {
    const points = Math.max(0, after - net);
    member.net.set(source, net + points);
    if (points > 0) credit(member, { source, ...dates }, points, now);
    return;
  }
  const owed = before - after;
  const own = member.lots.filter((lot) => lot.source === source);
  const others = member.lots.filter((lot) => lot.source !== source);
  const expired = sum(own.map((lot) => expiredOf(lot, now)));
  const kept = net - before;
  const lapsed = Math.min(expired, kept + owed) - Math.min(expired, kept);
  const pendingOf = (lots: Lot[]) => byActivation(lots.filter((lot) => isWaiting(lot, now)));
  const activeOf = (lots: Lot[]) => inOrder(lots.filter((lot) => isActive(lot, now)));
  const policy = rulesIn(member.programme, now)?.refundPolicy ?? 'only_pending';
  const sources = pendingOf(own);
  if (policy !== 'only_pending') sources.push(...activeOf(own), ...activeOf(others));
  if (policy === 'allow_negative') sources.push(...pendingOf(others));
  const { missing } = take(sources, owed - lapsed, now, true);
  let taken = owed - lapsed - missing;
  if (policy === 'allow_negative' && missing > 0) {
    member.debt.push({ points: -missing, at: now });
    taken += missing;
  }
  member.net.set(source, net - taken);
  member.reversals.push({ points: 0 - taken, lapsed, waived: owed - lapsed - taken, entitled: after });
}

const rank = (rules: TierRules, key: string | null) => rules.levels.findIndex((level) => level.key === key);

function reachedRank(rules: TierRules, amount: number): number {
  let reached = 0;
  for (const [index, { threshold }] of rules.levels.entries()) if (threshold <= amount) reached = index;
  return reached;
}

const keyOf = (rules: TierRules, index: number) => rules.levels[index]?.key ?? '';
const endOf = (rules: TierRules, index: number, from: number) => (index <= 0 ? null : from + rules.periodDays * day);

/**
 * The whole life of a member in the programme until `t`, order by order as they were placed: what each is entitled to
 * with the tier held then, and the steps of the tier.
 */
function replay(
  member: OracleMember,
  t: number,
): { steps: TierStep[]; entitlements: Map<string, number>; counts: Map<string, Entitlement> } {
  const { programme, joinedAt, enrolledAt } = member;
  const goods = unpackAll([...member.orders.values()], member.returns);
  const counts = new Map<string, Entitlement>();
  const steps: TierStep[] = [];
  const entitlements = new Map<string, number>();
  const first = rulesIn(programme, enrolledAt)?.tiers?.levels[0];
  if (first && joinedAt <= t) steps.push({ at: joinedAt, tier: first.key, reason: 'enrolment', endsAt: null });
  const amountAt = (rules: TierRules, at: number) =>
    sum(
      [...counts.values()]
        .filter(({ placedAt }) => placedAt > at - rules.windowDays * day && placedAt <= at)
        .map(({ spend, points }) => (rules.basis === 'spend' ? spend : points)),
    );
  const judgeUntil = (until: number) => {
    for (;;) {
      const last = steps.at(-1);
      if (!last || last.endsAt === null || last.endsAt > until) return;
      const at = last.endsAt;
      const rules = rulesIn(programme, at)?.tiers;
      if (!rules) return;
      const reached = reachedRank(rules, amountAt(rules, at));
      const held = rank(rules, last.tier);
      const byHand = last.reachedByOrders !== undefined;
      if (byHand && reached > held) {
        steps.push({ at, tier: keyOf(rules, reached), reason: 'upgrade', endsAt: endOf(rules, reached, at) });
      } else if (reached >= held) {
        steps.push({ at, tier: last.tier, reason: 'renewal', endsAt: endOf(rules, held, at) });
      } else if (!byHand && last.reason !== 'grace' && rules.graceDays > 0) {
        steps.push({ at, tier: last.tier, reason: 'grace', endsAt: at + rules.graceDays * day });
      } else {
        steps.push({ at, tier: keyOf(rules, reached), reason: 'downgrade', endsAt: endOf(rules, reached, at) });
      }
    }
  };
  const hands = [...member.handSet];
  const handsUntil = (until: number) => {
    for (let hand = hands[0]; hand && hand.at <= until; hand = hands[0]) {
      hands.shift();
      judgeUntil(hand.at);
      const rules = rulesIn(programme, hand.at)?.tiers;
      const reachedByOrders = rules ? keyOf(rules, reachedRank(rules, amountAt(rules, hand.at))) : hand.tier;
      steps.push({ ...hand, reason: 'manual', reachedByOrders });
    }
    judgeUntil(until);
  };
  // What is gone counts on where the rules keep it, and earns nothing.
  const gone = [...member.counted].filter(([id]) => !goods.has(id));
  const all = [
    ...[...goods].map(([id, left]) => ({ id, left, placedAt: left.order.placedAt })),
    ...gone.map(([id, { placedAt }]) => ({ id, left: null, placedAt })),
  ].sort((a, b) => a.placedAt - b.placedAt);
  for (const { id, left, placedAt } of all) {
    if (placedAt > t) break;
    handsUntil(placedAt);
    const rules = earningRulesIn(programme, placedAt);
    if (rules === null || placedAt < joinedAt) continue;
    const last = steps.at(-1);
    const keeps = rules.tierOnRefund === 'keep';
    const once = keeps ? member.counted.get(id) : undefined;
    const isPaid = left && (rules.earnOn === 'paid' ? left.order.paid : left.order.fulfilled);
    const earnsNow = left && isPaid && qualifies(left.order);
    const asSold = left && keeps && isPaid && !left.order.test ? soldAs(left.order) : null;
    const worth = (one: Goods | null | false | undefined, tier: string | null) =>
      one
        ? { points: oraclePoints(rules, one, tier), spend: Math.max(0, inBase(one.gross - one.tax, one.order)) }
        : null;
    const place = (tier: string | null) => {
      const now = worth(earnsNow && left, tier);
      const values = [now, worth(asSold, tier), once ?? null].filter((one) => one !== null);
      if (now) entitlements.set(id, now.points);
      counts.set(id, {
        points: Math.max(0, ...values.map(({ points }) => points)),
        spend: Math.max(0, ...values.map(({ spend }) => spend)),
        placedAt,
      });
    };
    place(last?.tier ?? null);
    const counted = counts.get(id);
    if (!counted || (counted.points === 0 && counted.spend === 0) || !rules.tiers) continue;
    const reached = reachedRank(rules.tiers, amountAt(rules.tiers, placedAt));
    if (last?.reachedByOrders !== undefined && reached <= rank(rules.tiers, last.reachedByOrders)) continue;
    const held = rank(rules.tiers, last?.tier ?? null);
    const endsAt = endOf(rules.tiers, reached, placedAt);
    const tier = keyOf(rules.tiers, reached);
    if (reached > held) {
      steps.push({ at: placedAt, tier, reason: last ? 'upgrade' : 'enrolment', endsAt });
      if (rules.tiers.reachingOrder === 'new_tier') place(tier);
    } else if (reached === held && last?.reason === 'grace') {
      steps.push({ at: placedAt, tier, reason: 'renewal', endsAt });
    }
  }
  handsUntil(t);
  return { steps, entitlements, counts };
}

/** An order as it was before anything went back. */
const soldAs = (order: OracleOrder): Goods => unpack({ ...order, refunds: [] });

/** The steps until `t`, by what is known. */
export function stepsUntil(member: OracleMember, t: number): TierStep[] {
  return replay(member, t).steps;
}

/** What all orders are entitled to has changed, of which some were not known: more first, then less. */
function recomputeOrders(member: OracleMember, now: number): void {
  const { entitlements, counts } = replay(member, never);
  const placed = new Map(inTime([...member.orders.values()]).map(({ id, placedAt }) => [id, placedAt]));
  const gone = [...member.entitlements.keys()].filter((id) => !placed.has(id));
  const changes = [...placed.keys(), ...gone].map((id) => ({
    id,
    before: member.entitlements.get(id) ?? 0,
    after: entitlements.get(id) ?? 0,
  }));
  for (const isMore of [true, false]) {
    for (const { id, before, after } of changes) {
      if (before === after || after > before !== isMore) continue;
      const placedAt = placed.get(id) ?? now;
      const dates = datesBy(earningRulesIn(member.programme, placedAt), placedAt);
      recompute(member, `order ${id}`, before, after, dates, now);
      member.entitlements.set(id, after);
    }
  }
  member.counted = counts;
}

/** Dates of the qualifying orders since joining. */
function purchases(member: OracleMember): number[] {
  return [...member.orders.values()]
    .filter((order) => qualifies(order) && order.placedAt >= member.joinedAt)
    .map(({ placedAt }) => placedAt)
    .sort((a, b) => a - b);
}

function recomputeMilestones(member: OracleMember, now: number): void {
  const { versions } = member.programme;
  const dates = purchases(member);
  for (const count of new Set(versions.flatMap(({ rules }) => rules.bonuses.purchase?.count ?? []))) {
    const at = dates[count - 1];
    const rules = at === undefined ? null : earningRulesIn(member.programme, at);
    const bonus = rules?.bonuses.purchase;
    recomputeBonus(
      member,
      `purchase:${count}`,
      bonus?.count === count ? bonus.points : 0,
      datesBy(rules, at ?? now),
      now,
    );
  }
}

function recomputeBonus(
  member: OracleMember,
  key: string,
  after: number,
  dates: ReturnType<typeof datesBy>,
  now: number,
): void {
  recompute(member, `bonus ${key}`, member.bonuses.get(key) ?? 0, after, dates, now);
  member.bonuses.set(key, after);
}

/** A customer becomes a member; `orders` are all that they have placed, `returns` what they sent back. */
export function enrol(
  programme: OracleProgramme,
  orders: Map<string, OracleOrder>,
  returns: OracleReturn[],
  birthday: string | null,
  joinedAt: number,
  now: number,
): OracleMember {
  const member: OracleMember = {
    programme,
    joinedAt,
    birthday,
    lots: [],
    debt: [],
    orders,
    returns,
    handSet: [],
    counted: new Map(),
    enrolledAt: now,
    entitlements: new Map(),
    bonuses: new Map(),
    net: new Map(),
    reversals: [],
    referralRewarded: false,
  };
  const rules = rulesIn(programme, now);
  const welcome = rules?.bonuses.welcome ?? 0;
  if (welcome > 0) recomputeBonus(member, 'welcome', welcome, datesBy(rules, now), now);
  ordersChanged(member, now);
  return member;
}

/** Orders or returns of a member were written; they are as they are afterwards. */
export function ordersChanged(member: OracleMember, now: number): void {
  recomputeOrders(member, now);
  recomputeMilestones(member, now);
}

/** To be followed by `ordersChanged`. @param endsAt null: by the rules of the programme */
export function setTier(member: OracleMember, tier: string, endsAt: number | null, now: number): void {
  const rules = rulesIn(member.programme, now)?.tiers;
  member.handSet.push({ at: now, tier, endsAt: endsAt ?? (rules ? endOf(rules, rank(rules, tier), now) : null) });
}

/** Whether the bonuses for the member's referral are not what they should be, as the writing of an order finds. */
export function isReferralDue(member: OracleMember, referrer: OracleMember | null): boolean {
  const isAsked = member.programme.versions.some(({ rules }) => rules.bonuses.referral);
  const earned = isAsked && referrer?.programme === member.programme && purchases(member).length > 0;
  return isAsked && earned !== member.referralRewarded;
}

/** @param other who referred the member, or was said to have: `isReferrer` says whether that still stands */
export function recomputeReferral(
  member: OracleMember,
  other: OracleMember | null,
  isReferrer: boolean,
  now: number,
): void {
  const bought = purchases(member)[0];
  const earned = bought !== undefined && isReferrer && other?.programme === member.programme;
  for (const side of [member, ...(other ? [other] : [])]) {
    const at = bought === undefined ? side.joinedAt : Math.max(bought, side.joinedAt);
    const rules = earningRulesIn(side.programme, at);
    const bonus = rules?.bonuses.referral;
    const points = (side === member ? bonus?.referee : bonus?.referrer) ?? 0;
    recomputeBonus(side, side === member ? 'referred' : 'referral', earned ? points : 0, datesBy(rules, at), now);
  }
  member.referralRewarded = earned;
}

/** The hourly job: birthdays and anniversaries whose day, in UTC, began in the last seven days. */
export function grantOccasions(member: OracleMember, now: number): void {
  const joinedOn = dateOf(member.joinedAt);
  for (const [kind, date] of [['birthday', member.birthday] as const, ['anniversary', joinedOn] as const]) {
    if (date === null) continue;
    for (let at = Math.floor((now - 8 * day) / day) * day; at <= now; at += day) {
      if (at <= now - 7 * day || at < member.joinedAt || !isOccasion(date, dateOf(at))) continue;
      const years = Number(dateOf(at).slice(0, 4)) - (kind === 'anniversary' ? Number(date.slice(0, 4)) : 0);
      const key = `${kind}:${years}`;
      const rules = earningRulesIn(member.programme, at);
      const points = rules?.bonuses[kind] ?? 0;
      if (points > 0 && !member.bonuses.has(key)) recomputeBonus(member, key, points, datesBy(rules, at), now);
    }
  }
}

const dateOf = (t: number) => new Date(t / 1000).toISOString().slice(0, 10);

function isOccasion(date: string, today: string): boolean {
  const year = today.slice(0, 4);
  // Of a birthday without a year, `--02-29`, every year is a later one.
  if (!date.startsWith('--') && Number(year) <= Number(date.slice(0, 4))) return false;
  const isLeap = new Date(`${year}-02-29T00:00:00Z`).getUTCDate() === 29;
  const day = date.slice(-5);
  return today.slice(5) === (day === '02-29' && !isLeap ? '02-28' : day);
}

/** What can be spent. */
export function available(member: OracleMember, now: number): number {
  const active = sum(member.lots.filter((lot) => isActive(lot, now)).map(left));
  return Math.max(0, active + sum(member.debt.map(({ points }) => points)));
}

/** Null when there are not so many points. */
export function spend(member: OracleMember, points: number, now: number): Taking | null {
  if (points > available(member, now)) return null;
  const active = inOrder(member.lots.filter((lot) => isActive(lot, now)));
  return take(active, points, now, false).taken;
}

export function giveBack(member: OracleMember, taking: Taking, now: number): void {
  for (const { lot, points } of taking.lots) {
    const expiresAt = Math.max(lot.expiresAt, now + 30 * day);
    credit(member, { source: null, earnedAt: now, activeAt: now, expiresAt, isAgain: true }, points, now);
  }
}

/** @param expiresAt null: never. Default: by the rules of the programme */
export function adjust(member: OracleMember, points: number, expiresAt: number | null | undefined, now: number): void {
  const usual = datesBy(rulesIn(member.programme, now), now).expiresAt;
  const until = expiresAt === undefined ? usual : (expiresAt ?? never);
  credit(member, { source: null, earnedAt: now, activeAt: now, expiresAt: until }, points, now);
}

export function transfer(from: OracleMember, to: OracleMember, points: number, now: number): boolean {
  const taking = spend(from, points, now);
  if (!taking) return false;
  for (const { lot, points: taken } of taking.lots) {
    const dates = { earnedAt: now, activeAt: now, expiresAt: lot.expiresAt };
    credit(to, { source: null, ...dates, isAgain: true }, taken, now);
  }
  return true;
}

/** At any instant, by what is known; null: no member then. */
export function standingAt(member: OracleMember, t: number): OracleStanding | null {
  if (t < member.joinedAt) return null;
  const debt = debtAt(member, t);
  let active = 0 - debt;
  let pending = 0;
  for (const lot of member.lots) {
    if (isActive(lot, t)) active += posted(lot.movements, t);
    else if (lot.earnedAt <= t && isWaiting(lot, t)) pending += posted(lot.movements, t);
  }
  const step = tierStepAt(member, t);
  return {
    active: active + 0,
    pending,
    debt: debt + 0,
    tier: step?.tier ?? null,
    tierEndsAt: step?.endsAt ?? null,
    tierInGrace: step?.reason === 'grace',
  };
}

function tierStepAt(member: OracleMember, t: number): TierStep | undefined {
  return stepsUntil(member, t).findLast(({ at }) => at <= t);
}

export interface OracleLiability {
  active: number;
  pending: number;
  debt: number;
  /** Of lots whose expiry has passed: credited (once) and not taken back, and what was left. */
  issued: number;
  expired: number;
  /** active + pending by month of expiry in UTC, `never` for those without; nothing is not there. */
  months: Record<string, number>;
  /** The same by tier, the empty key without one. */
  tiers: Record<string, number>;
  /** By index of the member. */
  members: number[];
}

/** Of all these members of one programme together, at `t`. */
export function liabilityOf(members: OracleMember[], t: number): OracleLiability {
  const total = { active: 0, pending: 0, debt: 0, issued: 0, expired: 0 };
  const months: Record<string, number> = {};
  const tiers: Record<string, number> = {};
  const outstanding: number[] = [];
  for (const member of members) {
    let own = 0;
    for (const lot of member.lots) {
      const points = posted(lot.movements, t);
      if (lot.expiresAt <= t) {
        const isIssued = lot.movements.filter((one, index) => (index === 0 && !lot.isAgain) || one.isTakenBack);
        total.issued += posted(isIssued, t);
        total.expired += points;
        continue;
      }
      if (t < lot.earnedAt) continue;
      if (isActive(lot, t)) total.active += points;
      else total.pending += points;
      own += points;
      const month = lot.expiresAt === never ? 'never' : dateOf(lot.expiresAt).slice(0, 7);
      months[month] = (months[month] ?? 0) + points;
    }
    total.debt += debtAt(member, t);
    outstanding.push(own);
    const tier = tierStepAt(member, t)?.tier ?? '';
    tiers[tier] = (tiers[tier] ?? 0) + own;
  }
  return { ...total, months: withoutZero(months), tiers: withoutZero(tiers), members: outstanding };
}

function withoutZero(points: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(points).filter(([, count]) => count !== 0));
}
