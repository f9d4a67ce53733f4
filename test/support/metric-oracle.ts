import { Temporal } from 'temporal-polyfill';
import { averageOrderValue } from '../../src/domain/average-order-value.ts';
import { churnRate } from '../../src/domain/churn-rate.ts';
import {
  fourFactorLifetimeValue,
  historicLifetimeValue,
  simpleLifetimeValue,
} from '../../src/domain/lifetime-value.ts';
import type { MetricResult } from '../../src/domain/metric-result.ts';
import { divideRounded, parseDecimal } from '../../src/domain/money.ts';
import { newAndReturning } from '../../src/domain/new-and-returning.ts';
import { monthsBetween } from '../../src/domain/period.ts';
import { customerMeans, purchaseGaps } from '../../src/domain/purchase-gaps.ts';
import { repeatPurchaseRate } from '../../src/domain/repeat-purchase-rate.ts';
import { retentionRate } from '../../src/domain/retention-rate.ts';
import { revenueConcentration } from '../../src/domain/revenue-concentration.ts';
import { revenuePerCustomer } from '../../src/domain/revenue-per-customer.ts';
import { rfm } from '../../src/domain/rfm.ts';
import { type CustomerFact, nobody, type OrderFact, type ReturnFact } from './facts.ts';
import { netLeft } from './refund-oracle.ts';

/**
 * The definitions of the metrics over arrays, as plainly as they can be put: the statistics are counted here, the
 * formulas are the domain's own (which have published values to answer to).
 */

export interface Question {
  currency: string | undefined;
  payment: 'all' | 'paid' | undefined;
  zeroValue: 'include' | 'exclude' | undefined;
  timeZone: string;
  asOf: string;
}

export interface OracleFacts {
  customers: CustomerFact[];
  orders: OrderFact[];
  returns: ReturnFact[];
}

/** A number, and what of the span it leaves out. */
export interface Measured {
  result: MetricResult;
  apart: { reason: string; count: number; amount?: number }[];
}

/** Null is the beginning of time. */
export interface Span {
  from: string | null;
  to: string;
}

const time = (instant: string) => Temporal.Instant.from(instant).epochMilliseconds;
const sum = (values: bigint[]) => values.reduce((total, value) => total + value, 0n);
const unique = <T>(values: T[]) => [...new Set(values)];

export function oracle(facts: OracleFacts, question: Question) {
  const { timeZone, asOf, currency } = question;
  const dayOf = (instant: string) => {
    const date = Temporal.Instant.from(instant).toZonedDateTimeISO(timeZone).toPlainDate();
    return Temporal.PlainDate.from('1970-01-01').until(date).days;
  };
  const cut = (instant: string) => Math.min(time(instant), time(asOf));
  const inside = (at: string, { from, to }: Span) => (from === null || time(at) >= time(from)) && time(at) < cut(to);
  const before = (at: string, to: string) => time(at) < cut(to);

  const refunded = (o: OrderFact) => (o.refunds ?? []).reduce((a, b) => a + b, 0);
  const total = (o: OrderFact) => o.total ?? 1000;
  const inCurrency = (fact: { currency?: string }) => currency === undefined || (fact.currency ?? 'EUR') === currency;
  const toBase = (minor: number, factor: string | null | undefined) => {
    if (factor === null) return null;
    const { digits, scale } = parseDecimal(factor ?? '1');
    return divideRounded(BigInt(minor) * digits, 10n ** BigInt(scale));
  };
  const worthOf = (o: OrderFact) => {
    const revenue = netLeft(
      { total: total(o), tax: o.tax ?? 0 },
      (o.refunds ?? []).map((amount) => ({ amount })),
    );
    return currency === undefined ? toBase(revenue, o.factor) : BigInt(revenue);
  };
  const returnValue = (r: ReturnFact) => (currency === undefined ? toBase(r.total, r.factor) : BigInt(r.total));

  const reasonOf = (o: OrderFact): string | null => {
    if (o.test) return 'test';
    if (o.cancelled) return 'cancelled';
    if (refunded(o) > 0 && refunded(o) >= total(o)) return 'refunded';
    if (question.payment === 'paid' && o.pending) return 'unpaid';
    if (question.zeroValue === 'exclude' && total(o) === 0) return 'zero_value';
    return null;
  };
  const scoped = facts.orders.filter(inCurrency);
  const orders = scoped.filter((o) => reasonOf(o) === null).sort((a, b) => time(a.at) - time(b.at));
  const returns = facts.returns.filter(inCurrency);
  const isKnown = (o: OrderFact) => o.customer !== nobody;
  const buyersIn = (span: Span) =>
    unique(orders.filter((o) => isKnown(o) && inside(o.at, span)).map((o) => o.customer));
  const ordersBefore = (customer: number, to: string) =>
    orders.filter((o) => o.customer === customer && before(o.at, to));

  function retentionCounts(previous: Span, current: Span, minOrders = 1) {
    const prior = buyersIn(previous).filter((c) => ordersBefore(c, previous.to).length >= minOrders);
    const now = new Set(buyersIn(current));
    return { previousBuyers: prior.length, retained: prior.filter((c) => now.has(c)).length };
  }

  const everBefore = (to: string) => buyersIn({ from: null, to });

  function gapsOf(to: string, merge: boolean) {
    return everBefore(to).map((customer) => {
      const own = ordersBefore(customer, to).map((o) => ({ at: o.at, day: dayOf(o.at) }));
      const steps = merge ? own.filter((o, i) => own.findIndex((p) => p.day === o.day) === i) : own;
      return steps.slice(1).map((step, i) => ({ at: step.at, days: step.day - (steps[i]?.day ?? 0) }));
    });
  }

  /** Net revenue per buyer of the span, and what is left out of it; with `everybody`, also orders of nobody known. */
  function netOf(span: Span, everybody = false) {
    const bought = orders.filter((o) => (everybody || isKnown(o)) && inside(o.at, span));
    const valued = bought.filter((o) => worthOf(o) !== null);
    const buyers = unique(valued.filter(isKnown).map((o) => o.customer));
    const ever = new Set(everBefore(span.to));
    const brought = returns.filter((r) => inside(r.at, span));
    const value = (r: ReturnFact) => returnValue(r) ?? 0n;
    const withRate = brought.filter((r) => returnValue(r) !== null);
    const strangers = withRate.filter((r) => !ever.has(r.customer));
    const customersReturns = withRate.filter((r) => ever.has(r.customer));
    const nets = buyers.map(
      (customer) =>
        sum(valued.filter((o) => o.customer === customer).map((o) => worthOf(o) ?? 0n)) -
        sum(customersReturns.filter((r) => r.customer === customer).map(value)),
    );
    const others = customersReturns.filter((r) => !buyers.includes(r.customer));
    return {
      valued,
      buyers,
      nets,
      revenue: sum(valued.map((o) => worthOf(o) ?? 0n)) - sum(customersReturns.map(value)),
      missing: bought.length - valued.length,
      apart: [
        entry('returns_of_non_buyers', strangers.length, sum(strangers.map(value))),
        entry('returns_missing_rate', brought.length - withRate.length),
      ],
      others: entry('returns_of_earlier_buyers', others.length, sum(others.map(value))),
      /** What a metric of orders leaves out. */
      returns: [
        entry('returns', withRate.length, sum(withRate.map(value))),
        entry('returns_missing_rate', brought.length - withRate.length),
      ],
    };
  }

  function entry(reason: string, count: number, amount?: bigint) {
    return { reason, count, ...(amount === undefined ? {} : { amount: Number(amount) }) };
  }

  return {
    retention: (previous: Span, current: Span, minOrders?: number) =>
      retentionRate(retentionCounts(previous, current, minOrders)),
    churnPeriod: (previous: Span, current: Span) =>
      churnRate({ variant: 'period', ...retentionCounts(previous, current) }),
    repeat({ to }: Span, minOrders: number): MetricResult {
      const buyers = everBefore(to);
      const repeatBuyers = buyers.filter((c) => ordersBefore(c, to).length >= minOrders).length;
      return repeatPurchaseRate({ buyers: buyers.length, repeatBuyers });
    },
    silence({ to }: Span, silenceDays: number): MetricResult {
      const today = dayOf(time(to) < time(asOf) ? to : asOf);
      const buyers = everBefore(to);
      const silent = buyers.filter((c) => ordersBefore(c, to).every((o) => today - dayOf(o.at) > silenceDays));
      const result = churnRate({ variant: 'silence', customers: buyers.length, silent: silent.length });
      return { ...result, values: { ...result.values, silenceDays } };
    },
    ownGap({ to }: Span, gapFactor: number): MetricResult {
      const today = dayOf(time(to) < time(asOf) ? to : asOf);
      const states = everBefore(to).map((c) => unique(ordersBefore(c, to).map((o) => dayOf(o.at))));
      const withGap = states.filter((days) => days.length > 1);
      const silent = withGap.filter((days) => {
        const [first = 0, last = 0] = [days[0], days.at(-1)];
        return (today - last) * (days.length - 1) > gapFactor * (last - first);
      });
      const counts = { customersWithGap: withGap.length, silent: silent.length };
      const result = churnRate({ variant: 'gap', ...counts, customersWithoutGap: states.length - withGap.length });
      return { ...result, values: { ...result.values, gapFactor } };
    },
    gaps(span: Span, merge: boolean): MetricResult {
      const perCustomer = gapsOf(span.to, merge).map((gaps) => gaps.filter((gap) => inside(gap.at, span)));
      return purchaseGaps({
        histogram: perCustomer.flat().map((gap) => ({ value: gap.days, count: 1 })),
        customers: customerMeans(
          perCustomer
            .filter((gaps) => gaps.length > 0)
            .map((gaps) => ({ days: gaps.reduce((days, gap) => days + gap.days, 0), gaps: gaps.length, customers: 1 })),
        ),
        openGaps: everBefore(span.to).length,
      });
    },
    averageOrderValue(span: Span): Measured {
      const { valued, missing, returns: left } = netOf(span, true);
      const returning = (o: OrderFact) => ordersBefore(o.customer, span.to).length >= 2;
      const sums = (group: OrderFact[]) => ({
        orders: group.length,
        revenue: sum(group.map((o) => worthOf(o) ?? 0n)),
        customers: unique(group.map((o) => o.customer)).length,
      });
      const known = valued.filter(isKnown);
      const groups = {
        returning: sums(known.filter(returning)),
        oneTime: sums(known.filter((o) => !returning(o))),
        anonymous: sums(valued.filter((o) => !isKnown(o))),
      };
      return { result: averageOrderValue(groups), apart: [entry('missing_rate', missing), ...left] };
    },
    revenuePerCustomer(span: Span): Measured {
      const { valued, revenue, buyers, missing, apart } = netOf(span, true);
      const anonymousOrders = valued.filter((o) => !isKnown(o)).length;
      const result = revenuePerCustomer({ revenue, buyers: buyers.length, anonymousOrders });
      return { result, apart: [entry('missing_rate', missing), ...apart] };
    },
    newAndReturning(span: Span): Measured {
      const { valued, missing, apart } = netOf(span);
      const firstOf = (customer: number) => orders.find((o) => o.customer === customer)?.at;
      const isNew = ({ customer }: { customer: number }) => {
        const first = firstOf(customer);
        return first !== undefined && inside(first, span);
      };
      const isReturning = ({ customer }: { customer: number }) => {
        const first = firstOf(customer);
        return first !== undefined && before(first, span.to) && !inside(first, span);
      };
      const sums = (part: (fact: { customer: number }) => boolean) => ({
        buyers: unique(valued.filter(part).map((o) => o.customer)).length,
        revenue:
          sum(valued.filter(part).map((o) => worthOf(o) ?? 0n)) -
          sum(
            returns
              .filter((r) => inside(r.at, span))
              .filter(part)
              .map((r) => returnValue(r) ?? 0n),
          ),
      });
      const result = newAndReturning({ fresh: sums(isNew), returning: sums(isReturning) });
      return { result, apart: [entry('missing_rate', missing), ...apart] };
    },
    historic(span: Span): Measured {
      const { nets, missing, apart, others } = netOf(span);
      const sorted = [...nets].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      const result = historicLifetimeValue({
        buyers: nets.length,
        sum: sum(nets),
        sumOfSquares: sum(nets.map((net) => net * net)),
        orderStatistics: new Map(sorted.map((net, rank) => [rank, net])),
      });
      return { result, apart: [entry('missing_rate', missing), ...apart, others] };
    },
    simple(span: Span): Measured {
      const { nets, buyers, missing, apart, others } = netOf(span);
      const comparable = currency === undefined || currency === 'EUR';
      const costs = buyers.flatMap((customer) => {
        const known = facts.customers.find((c) => c.customer === customer);
        if (!comparable || known?.acquisitionCost == null) return [];
        const first = orders.find((o) => o.customer === customer);
        const day = known.acquiredOn ?? null;
        const acquired =
          day === null ? dayOf(first?.at ?? asOf) : Temporal.PlainDate.from('1970-01-01').until(day).days;
        const last = dayOf(Temporal.Instant.fromEpochMilliseconds(cut(span.to) - 1).toString());
        const counts = acquired <= last && (span.from === null || acquired >= dayOf(span.from));
        return [counts ? BigInt(known.acquisitionCost) : 0n];
      });
      const result = simpleLifetimeValue({
        buyers: buyers.length,
        revenue: sum(nets),
        acquisitionCost: sum(costs),
        buyersWithAcquisitionCost: costs.length,
        retentionCostPerBuyer: null,
      });
      return { result, apart: [entry('missing_rate', missing), ...apart, others] };
    },
    fourFactor(
      { from, to }: Span,
      basis: { basis: 'observed' } | { basis: 'silence'; silenceDays: number },
      margin: number | null,
    ): Measured {
      if (from === null) throw new Error('the four factors need a window');
      const { valued, buyers, missing, returns: left } = netOf({ from, to });
      const end = time(to) < time(asOf) ? to : asOf;
      const lives = buyers.map((c) => valued.filter((o) => o.customer === c).map((o) => dayOf(o.at)));
      const spells = lives.flatMap((days) => {
        const sorted = [...days].sort((a, b) => a - b);
        return sorted.map((day, i) => (sorted[i + 1] ?? dayOf(end)) - day);
      });
      const lines = valued.flatMap((o) =>
        (o.costs ?? []).map((cost) =>
          cost === null ? null : currency === undefined ? toBase(cost, o.factor) : BigInt(cost),
        ),
      );
      const known = lines.filter((cost) => cost !== null);
      const result = fourFactorLifetimeValue({
        revenue: sum(valued.map((o) => worthOf(o) ?? 0n)),
        orders: valued.length,
        buyers: buyers.length,
        months: monthsBetween({ from, to: time(from) < time(end) ? end : to, timeZone }),
        lifetime:
          basis.basis === 'observed'
            ? { basis: 'observed', totalDays: lives.reduce((n, days) => n + Math.max(...days) - Math.min(...days), 0) }
            : {
                basis: 'silence',
                exposureDays: spells.reduce((n, days) => n + Math.min(days, basis.silenceDays), 0),
                events: spells.filter((days) => days > basis.silenceDays).length,
              },
        costs: { lines: lines.length, linesWithCost: known.length, cost: sum(known) },
        margin,
      });
      const told = basis.basis === 'silence' ? { silenceDays: basis.silenceDays } : {};
      return {
        result: { ...result, values: { ...result.values, ...told } },
        apart: [entry('missing_rate', missing), ...left],
      };
    },
    concentration(span: Span): Measured {
      const { nets, missing, apart, others } = netOf(span);
      const sorted = [...nets].sort((a, b) => (a > b ? -1 : a < b ? 1 : 0));
      const all = sum(nets);
      const enough = sorted.findIndex((_, index) => sum(sorted.slice(0, index + 1)) * 10n >= all * 8n);
      const losses = nets.filter((net) => net < 0n);
      const result = revenueConcentration({
        customers: nets.length,
        revenue: all,
        ofTop: [0.01, 0.05, 0.1, 0.2, 0.3, 0.5].map((part) => sum(sorted.slice(0, Math.ceil(sorted.length * part)))),
        bringing80: enough < 0 ? null : enough + 1,
        lossMaking: losses.length,
        losses: sum(losses),
        contactSeconds: 0n,
        contactSecondsOfRest: 0n,
      });
      return { result, apart: [entry('missing_rate', missing), ...apart, others] };
    },
    rfm({ to }: Span): Measured {
      const { missing, apart } = netOf({ from: null, to });
      const buyers = everBefore(to).map((customer) => {
        const own = ordersBefore(customer, to);
        const back = returns.filter((r) => r.customer === customer && before(r.at, to));
        return {
          recency: Math.max(...own.map((o) => dayOf(o.at))),
          frequency: own.length,
          monetary: Number(sum(own.map((o) => worthOf(o) ?? 0n)) - sum(back.map((r) => returnValue(r) ?? 0n))),
        };
      });
      const score = (of: 'recency' | 'frequency' | 'monetary', own: number) =>
        1 + Math.floor((5 * buyers.filter((other) => other[of] < own).length) / buyers.length);
      const cells = buyers.map(({ recency, frequency, monetary }) => ({
        recency: score('recency', recency),
        frequency: score('frequency', frequency),
        monetary: score('monetary', monetary),
        customers: 1,
        orders: frequency,
        revenue: BigInt(monetary),
      }));
      const merged = unique(cells.map((c) => `${c.recency}${c.frequency}${c.monetary}`)).flatMap((key) => {
        const same = cells.filter((c) => `${c.recency}${c.frequency}${c.monetary}` === key);
        const [first] = same;
        const orderCount = same.reduce((n, c) => n + c.orders, 0);
        return first
          ? [{ ...first, customers: same.length, orders: orderCount, revenue: sum(same.map((c) => c.revenue)) }]
          : [];
      });
      return { result: rfm(merged), apart: [entry('missing_rate', missing), ...apart] };
    },
    /** Who bought for the first time ever in the first of the spans, and what they did in each of them. */
    cohort(spans: readonly Span[]): {
      active: number[];
      later: number[];
      revenue: bigint[];
    } {
      const [own] = spans;
      const members = own
        ? unique(orders.filter((o) => isKnown(o) && inside(o.at, own)).map((o) => o.customer)).filter(
            (customer) =>
              !orders.some((o) => o.customer === customer && own.from !== null && time(o.at) < time(own.from)),
          )
        : [];
      const boughtIn = (customer: number, span: Span) =>
        orders.some((o) => o.customer === customer && inside(o.at, span));
      return {
        active: spans.map((span) => members.filter((customer) => boughtIn(customer, span)).length),
        later: spans.map(
          (_, index) =>
            members.filter((customer) => spans.slice(index).some((span) => boughtIn(customer, span))).length,
        ),
        revenue: spans.map(
          (span) =>
            sum(orders.filter((o) => members.includes(o.customer) && inside(o.at, span)).map((o) => worthOf(o) ?? 0n)) -
            sum(
              returns
                .filter((r) => members.includes(r.customer) && inside(r.at, span))
                .map((r) => returnValue(r) ?? 0n),
            ),
        ),
      };
    },
    firstFact(to: string, withReturns: boolean, everybody = false): string | null {
      const counted = orders.filter((o) => everybody || isKnown(o));
      const all = [...counted, ...(withReturns ? returns : [])].map(({ at }) => at).filter((at) => before(at, to));
      return all.sort((a, b) => time(a) - time(b))[0] ?? null;
    },
    /** Orders of the spans that do not count, by their first reason. */
    excluded(everybody: boolean, ...spans: Span[]): { reason: string; count: number }[] {
      const reasons = scoped
        .filter((o) => spans.some((span) => inside(o.at, span)))
        .map((o) => reasonOf(o) ?? (everybody || isKnown(o) ? null : 'anonymous'));
      return unique(reasons)
        .filter((reason) => reason !== null)
        .map((reason) => ({ reason, count: reasons.filter((r) => r === reason).length }));
    },
  };
}
