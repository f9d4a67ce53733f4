/**
 * What members of a loyalty programme have, by replaying everything that happened to them one after the other, lot by
 * lot, from the description of the programme alone. Nothing is ever settled, posted or stored here: a lot is a list of
 * movements and counts while its dates say so, and a balance is added up anew for every instant. It shares no code with
 * the service. Instants are microseconds since 1970.
 */

export const day = 86_400_000_000;

export interface OracleRules {
  pointsPerUnit: number;
  rounding: 'down' | 'half_up' | 'up';
  earnOn: 'paid' | 'fulfilled';
  pendingDays: number;
  expiryDays: number | null;
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
}

interface TierRules {
  basis: 'spend' | 'points';
  windowDays: number;
  periodDays: number;
  graceDays: number;
  levels: { key: string; name: string; threshold: number; multiplier: number }[];
}

export interface OracleProgramme {
  versions: { validFrom: number; rules: OracleRules }[];
  endedAt: number | null;
}

/** An order as it is now, in the base currency. */
export interface OracleOrder {
  id: string;
  placedAt: number;
  /** total − tax − refunds, minor units; null: no rate yet. */
  revenue: number | null;
  qualifying: boolean;
  paid: boolean;
  fulfilled: boolean;
  campaignId: string | null;
  items: { category: string | null; total: number }[];
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
}

interface Entitlement {
  points: number;
  spend: number;
  placedAt: number;
  tier: string | null;
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
  entitlements: Map<string, Entitlement>;
  /** What bonuses are entitled to, by key. */
  bonuses: Map<string, number>;
  /** Σ points of what an order or bonus earned and lost. */
  net: Map<string, number>;
  steps: TierStep[];
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

const million = 1_000_000n;
/** A decimal with at most six places, exactly. */
const millionths = (decimal: number) => BigInt(Math.round(decimal * 1e6));

/** Points of an order in a base currency with two decimals, as one fraction. */
export function oraclePoints(rules: OracleRules, order: OracleOrder, tier: string | null): number {
  if (order.revenue === null || order.revenue <= 0) return 0;
  let above = BigInt(order.revenue) * millionths(rules.pointsPerUnit);
  let below = 100n * million;
  for (const level of rules.tiers?.levels ?? []) {
    if (level.key !== tier) continue;
    above *= millionths(level.multiplier);
    below *= million;
  }
  for (const { from, to, campaignId, multiplier } of rules.campaigns) {
    if (order.placedAt < from || order.placedAt >= to) continue;
    if (campaignId !== null && campaignId !== order.campaignId) continue;
    above *= millionths(multiplier);
    below *= million;
  }
  let weights = 0n;
  let weighted = 0n;
  for (const { category, total } of order.items) {
    if (total <= 0) continue;
    const rule = rules.categories.find((one) => one.category === category);
    weights += BigInt(total) * million;
    weighted += BigInt(total) * (rule ? millionths(rule.multiplier) : million);
  }
  if (weights > 0n) {
    above *= weighted;
    below *= weights;
  }
  const whole = above / below;
  const rest = above - whole * below;
  if (rest === 0n || rules.rounding === 'down') return Number(whole);
  return Number(rules.rounding === 'up' || 2n * rest >= below ? whole + 1n : whole);
}

const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
const posted = (movements: readonly Movement[], t: number) =>
  sum(movements.map(({ points, at }) => (at <= t ? points : 0)));
const isActive = ({ activeAt, expiresAt }: Lot, t: number) => activeAt <= t && t < expiresAt;
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
  const expiryDays = rules ? rules.expiryDays : null;
  return {
    earnedAt: t,
    activeAt: t + (rules?.pendingDays ?? 0) * day,
    expiresAt: expiryDays === null ? never : t + expiryDays * day,
  };
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
  const pendingOf = (lots: Lot[]) => byActivation(lots.filter((lot) => now < lot.activeAt));
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

function qualifyingAmount(member: OracleMember, rules: TierRules, t: number): number {
  let amount = 0;
  for (const { placedAt, spend, points } of member.entitlements.values()) {
    if (placedAt > t - rules.windowDays * day && placedAt <= t) amount += rules.basis === 'spend' ? spend : points;
  }
  return amount;
}

const rank = (rules: TierRules, key: string | null) => rules.levels.findIndex((level) => level.key === key);

function reachedRank(rules: TierRules, amount: number): number {
  let reached = 0;
  for (const [index, { threshold }] of rules.levels.entries()) if (threshold <= amount) reached = index;
  return reached;
}

const keyOf = (rules: TierRules, index: number) => rules.levels[index]?.key ?? '';
const endOf = (rules: TierRules, index: number, from: number) => (index <= 0 ? null : from + rules.periodDays * day);

/** The steps that time alone brings until `t`, by what is known. */
export function stepsUntil(member: OracleMember, t: number): TierStep[] {
  const steps = [...member.steps];
  for (;;) {
    const last = steps.at(-1);
    if (!last || last.endsAt === null || last.endsAt > t) return steps;
    const at = last.endsAt;
    const rules = rulesIn(member.programme, at)?.tiers;
    if (!rules) return steps;
    const reached = reachedRank(rules, qualifyingAmount(member, rules, at));
    const held = rank(rules, last.tier);
    if (reached >= held) steps.push({ at, tier: last.tier, reason: 'renewal', endsAt: endOf(rules, held, at) });
    else if (last.reason !== 'grace' && rules.graceDays > 0) {
      steps.push({ at, tier: last.tier, reason: 'grace', endsAt: at + rules.graceDays * day });
    } else {
      steps.push({ at, tier: keyOf(rules, reached), reason: 'downgrade', endsAt: endOf(rules, reached, at) });
    }
  }
}

/** Before whatever changes at `now`: what is known decides about the periods that have ended. */
function bringUp(member: OracleMember, now: number): void {
  member.steps = stepsUntil(member, now);
}

function raise(member: OracleMember, now: number): void {
  const rules = rulesIn(member.programme, now)?.tiers;
  if (!rules) return;
  const reached = reachedRank(rules, qualifyingAmount(member, rules, now));
  const last = member.steps.at(-1);
  const held = rank(rules, last?.tier ?? null);
  const tier = keyOf(rules, reached);
  const endsAt = endOf(rules, reached, now);
  if (reached > held) member.steps.push({ at: now, tier, reason: last ? 'upgrade' : 'enrolment', endsAt });
  else if (reached === held && last?.reason === 'grace') {
    member.steps.push({ at: now, tier, reason: 'renewal', endsAt });
  }
}

/** The tier that an order placed then earns with; before there was one, the first. */
function tierHeldAt(member: OracleMember, t: number): string | null {
  let held = member.steps[0]?.tier ?? null;
  for (const step of member.steps) if (step.at <= t) held = step.tier;
  return held;
}

function recomputeOrder(member: OracleMember, id: string, now: number): void {
  const order = member.orders.get(id) ?? null;
  const known = member.entitlements.get(id);
  if (!order && !known) return;
  const placedAt = order?.placedAt ?? known?.placedAt ?? now;
  const rules = earningRulesIn(member.programme, placedAt);
  const tier = known ? known.tier : tierHeldAt(member, placedAt);
  const counts =
    order?.qualifying === true &&
    rules !== null &&
    placedAt >= member.joinedAt &&
    (rules.earnOn === 'paid' ? order.paid : order.fulfilled);
  const points = counts ? oraclePoints(rules, order, tier) : 0;
  const spend = counts ? Math.max(0, order.revenue ?? 0) : 0;
  if (!known && points === 0 && spend === 0) return;
  recompute(member, `order ${id}`, known?.points ?? 0, points, datesBy(rules, placedAt), now);
  member.entitlements.set(id, { points, spend, placedAt, tier });
}

/** Dates of the qualifying orders since joining. */
function purchases(member: OracleMember): number[] {
  return [...member.orders.values()]
    .filter(({ qualifying, placedAt }) => qualifying && placedAt >= member.joinedAt)
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

/** A customer becomes a member; `orders` are all that they have placed. */
export function enrol(
  programme: OracleProgramme,
  orders: Map<string, OracleOrder>,
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
    entitlements: new Map(),
    bonuses: new Map(),
    net: new Map(),
    steps: [],
    reversals: [],
    referralRewarded: false,
  };
  const rules = rulesIn(programme, now);
  const welcome = rules?.bonuses.welcome ?? 0;
  if (welcome > 0) recomputeBonus(member, 'welcome', welcome, datesBy(rules, now), now);
  const first = rules?.tiers?.levels[0];
  if (first) member.steps.push({ at: joinedAt, tier: first.key, reason: 'enrolment', endsAt: null });
  const since = [...orders.values()].filter(({ placedAt }) => placedAt >= joinedAt);
  for (const { id } of since.sort((a, b) => a.placedAt - b.placedAt)) recomputeOrder(member, id, now);
  recomputeMilestones(member, now);
  raise(member, now);
  return member;
}

/** Orders of a member were written, in this order; `member.orders` is as it is afterwards. */
export function ordersChanged(member: OracleMember, ids: string[], now: number): void {
  bringUp(member, now);
  for (const id of ids) recomputeOrder(member, id, now);
  recomputeMilestones(member, now);
  raise(member, now);
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
    bringUp(side, now);
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
  bringUp(member, now);
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
  if (Number(year) <= Number(date.slice(0, 4))) return false;
  const isLeap = new Date(`${year}-02-29T00:00:00Z`).getUTCDate() === 29;
  return today.slice(5) === (date.slice(5) === '02-29' && !isLeap ? '02-28' : date.slice(5));
}

/** What can be spent. */
export function available(member: OracleMember, now: number): number {
  const active = sum(member.lots.filter((lot) => isActive(lot, now)).map(left));
  return Math.max(0, active + sum(member.debt.map(({ points }) => points)));
}

/** Null when there are not so many points. */
export function spend(member: OracleMember, points: number, now: number): Taking | null {
  if (points > available(member, now)) return null;
  bringUp(member, now);
  const active = inOrder(member.lots.filter((lot) => isActive(lot, now)));
  return take(active, points, now, false).taken;
}

export function giveBack(member: OracleMember, taking: Taking, now: number): void {
  bringUp(member, now);
  for (const { lot, points } of taking.lots) {
    const expiresAt = Math.max(lot.expiresAt, now + 30 * day);
    credit(member, { source: null, earnedAt: now, activeAt: now, expiresAt, isAgain: true }, points, now);
  }
}

/** @param expiresAt null: never. Default: by the rules of the programme */
export function adjust(member: OracleMember, points: number, expiresAt: number | null | undefined, now: number): void {
  bringUp(member, now);
  const usual = datesBy(rulesIn(member.programme, now), now).expiresAt;
  const until = expiresAt === undefined ? usual : (expiresAt ?? never);
  credit(member, { source: null, earnedAt: now, activeAt: now, expiresAt: until }, points, now);
}

export function transfer(from: OracleMember, to: OracleMember, points: number, now: number): boolean {
  const taking = spend(from, points, now);
  if (!taking) return false;
  bringUp(to, now);
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
    else if (lot.earnedAt <= t && t < lot.activeAt) pending += posted(lot.movements, t);
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
