import { Temporal } from 'temporal-polyfill';
import type { z } from 'zod';
import type { orderRecord, refundRecord } from '../../src/features/orders/record.ts';
import type { returnRecord } from '../../src/features/returns/record.ts';
import { type CustomerDocument, inventCompanies, inventPeople, type Person, twoDigits } from './people.ts';
import { type Random, seededRandom } from './random.ts';

/**
 * The invented shop: two years of it, from a seed. Purchases are drawn from a known process, so that what the service
 * says of them can be held against it: BG/NBD for when people buy and stop (Fader, Hardie & Lee 2005), Gamma-Gamma for
 * what they spend (Fader & Hardie, note 025), with the parameters fitted to CDNOW. `revenue` of an order is the value
 * drawn; what does not follow the process (cancelled, sent back, test orders) comes on top of it.
 */
export const purchaseProcess = { r: 0.2426, alpha: 4.4135, a: 0.7929, b: 2.4258, p: 6.25, q: 3.74, gamma: 15.44 };

/** Raised when another store comes out of the same seed: stores built before are then built anew. */
export const storeVersion = 5;

export const zone = 'Europe/Berlin';
export const baseCurrency = 'EUR';
/** Where the demo's clock stands. */
export const now = '2026-07-01T08:00:00.000Z';
const opening = '2024-07-01';
/** Days from the opening to the clock. */
export const days = 730;

type OrderDocument = z.input<(typeof orderRecord)['input']>;
type ReturnDocument = z.input<(typeof returnRecord)['input']>;

export interface Store {
  companies: CustomerDocument[];
  people: Person[];
  rates: { date: string; currency: string; rate: string }[];
  orders: OrderDocument[];
  refunds: { order: string; refund: z.input<(typeof refundRecord)['document']> }[];
  returns: ReturnDocument[];
  /** Reference of a customer with many orders, to look at. */
  regular: string;
}

interface Product {
  sku: string;
  name: string;
  category: string;
  /** What a unit of price costs; null: nobody wrote it down. */
  costShare: number | null;
}

const products: Product[] = [
  { sku: 'BEAN-01', name: 'House blend 500 g', category: 'coffee', costShare: 0.52 },
  { sku: 'BEAN-02', name: 'Single origin 250 g', category: 'coffee', costShare: 0.58 },
  { sku: 'BEAN-03', name: 'Decaf 500 g', category: 'coffee', costShare: 0.55 },
  { sku: 'TEA-01', name: 'Assam 100 g', category: 'tea', costShare: 0.38 },
  { sku: 'TEA-02', name: 'Sencha 100 g', category: 'tea', costShare: 0.41 },
  { sku: 'GEAR-01', name: 'Hand grinder', category: 'equipment', costShare: 0.66 },
  { sku: 'GEAR-02', name: 'Dripper', category: 'equipment', costShare: 0.61 },
  { sku: 'GEAR-03', name: 'Paper filters', category: 'equipment', costShare: 0.44 },
  { sku: 'CUP-01', name: 'Cup', category: 'tableware', costShare: 0.5 },
  { sku: 'EVT-01', name: 'Tasting evening', category: 'events', costShare: null },
];

const reasons = ['damaged', 'wrong item', 'arrived late', 'changed my mind'];

export function inventStore(seed: number, customers: number): Store {
  const random = seededRandom(seed);
  const companies = inventCompanies(random, Math.floor(customers / 40));
  const people = inventPeople(random, customers, days, companies.length);
  const rates = inventRates(random);
  const drafts = people.flatMap((person) => inventPurchases(random, person, rates));
  drafts.sort((a, b) => (a.order.placedAt < b.order.placedAt ? -1 : a.order.placedAt > b.order.placedAt ? 1 : 0));
  for (const [index, { order }] of drafts.entries()) order.externalId = `R-${100_001 + index}`;
  const regulars = new Map<string, number>();
  for (const { order } of drafts) {
    const name = order.customer?.externalId;
    if (name !== undefined) regulars.set(name, (regulars.get(name) ?? 0) + 1);
  }
  const [regular] = [...regulars].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return {
    companies,
    people,
    rates,
    orders: drafts.map(({ order }) => order),
    refunds: drafts.flatMap(({ order, refund }) => (refund ? [{ order: order.externalId, refund }] : [])),
    returns: people.flatMap((person, index) => inventReturn(random, person, index)),
    regular: regular?.[0] ?? '',
  };
}

/** One Swiss rate a week; two weeks in the second winter were forgotten. */
function inventRates(random: Random): Store['rates'] {
  let rate = 1.04;
  return Array.from({ length: Math.ceil(days / 7) + 1 }, (_, week) => {
    rate += (random.uniform() - 0.5) * 0.008;
    return { date: dateOf(week * 7), currency: 'CHF', rate: rate.toFixed(4) };
  }).filter((_, week) => week !== 80 && week !== 81);
}

interface Draft {
  order: OrderDocument;
  refund: z.input<(typeof refundRecord)['document']> | null;
}

/** BG/NBD in weeks: the first purchase on arrival, then at rate λ; after each repeat purchase gone with probability p. */
function inventPurchases(random: Random, person: Person, rates: Store['rates']): Draft[] {
  const rate = random.gamma(purchaseProcess.r, purchaseProcess.alpha);
  const dropout = random.beta(purchaseProcess.a, purchaseProcess.b);
  // Gamma-Gamma: ν of the customer, then the value of each purchase with mean p ÷ ν.
  const nu = random.gamma(purchaseProcess.q, purchaseProcess.gamma);
  const value = () => random.gamma(purchaseProcess.p, nu);
  const drafts: Draft[] = [];
  let week = person.since / 7;
  while (week * 7 < days) {
    const day = Math.floor(week * 7);
    drafts.push(inventOrder(random, person, { day, value: value(), rates }));
    if (random.chance(0.045)) drafts.push(inventMishap(random, person, { day, value: value(), rates }));
    if (week * 7 > person.since && random.chance(dropout)) break;
    week += random.exponential(rate);
  }
  return drafts;
}

interface Purchase {
  day: number;
  /** Net of tax, base-currency major units. */
  value: number;
  rates: Store['rates'];
}

function inventOrder(random: Random, person: Person, { day, value, rates }: Purchase): Draft {
  const swiss = person.country === 'CH';
  const currency = swiss ? 'CHF' : 'EUR';
  const net = Math.max(1, Math.round((value * 100) / (swiss ? rateOn(rates, day) : 1)));
  const tax = Math.round(net * (swiss ? 0.081 : 0.19));
  const channel = random.chance(0.85) ? person.channel : 'web';
  const gross = net + tax;
  const shipping = channel !== 'store' && gross > 900 && gross < 4000 ? 490 : 0;
  const placedAt = instantOf(day, channel === 'store' ? random.integer(9, 18) : random.integer(7, 22), random);
  const recent = days - day;
  // The price holds tax and shipping: what the items do not carry of it, shipping does.
  const order: OrderDocument = {
    source: 'shop',
    externalId: '',
    customer: person.guest ? { email: person.email ?? '', name: person.name } : { externalId: person.externalId },
    placedAt,
    currency,
    total: gross,
    items: inventItems(random, gross - shipping),
    shipping,
    tax,
    taxIncluded: true,
    paymentStatus: recent <= 6 && random.chance(0.3) ? 'pending' : 'paid',
    fulfillmentStatus: recent <= 3 ? 'unfulfilled' : 'fulfilled',
    channel,
  };
  const refund =
    random.chance(0.03) && gross > 200
      ? {
          amount: Math.floor(gross * (0.1 + 0.3 * random.uniform())),
          refundedAt: later(placedAt, random.integer(2, 20)),
          reason: random.pick(reasons),
        }
      : null;
  return { order, refund: refund && refund.refundedAt < now ? refund : null };
}

/** What happens beside the process: cancelled, sent back as a whole, or placed by somebody who tries the shop. */
function inventMishap(random: Random, person: Person, purchase: Purchase): Draft {
  const { order } = inventOrder(random, person, purchase);
  const kind = random.weighted([
    ['cancelled', 55],
    ['sent_back', 38],
    ['test', 7],
  ] as const);
  if (kind === 'test') return { order: { ...order, test: true }, refund: null };
  const end = later(order.placedAt, random.integer(1, 12));
  const settled = end < now ? end : order.placedAt;
  if (kind === 'cancelled')
    return { order: { ...order, cancelledAt: settled, paymentStatus: 'pending' }, refund: null };
  return { order, refund: { amount: order.total, refundedAt: settled, reason: random.pick(reasons) } };
}

/** Lines that add up to `total`, minor units with tax. */
function inventItems(random: Random, total: number): OrderDocument['items'] {
  const count = Math.max(1, Math.min(random.integer(1, 4), Math.floor(total / 300)));
  const shares = Array.from({ length: count }, () => 0.3 + random.uniform());
  const whole = shares.reduce((sum, share) => sum + share, 0);
  let left = total;
  return shares.map((share, index) => {
    const part = index === count - 1 ? left : Math.floor((total * share) / whole);
    left -= part;
    // Events are few.
    const product = random.chance(0.97)
      ? random.pick(products.slice(0, -1))
      : (products.at(-1) ?? random.pick(products));
    const quantity = random.weighted([
      [1, 70],
      [2, 22],
      [3, 8],
    ] as const);
    const { sku, name, category, costShare } = product;
    const unit = part / quantity;
    return {
      sku,
      name,
      category,
      quantity,
      total: part,
      ...(Number.isInteger(unit) && { unitPrice: `${Math.floor(unit / 100)}.${twoDigits(unit % 100)}` }),
      ...(costShare !== null && { cost: Math.round((part / 1.19) * costShare) }),
    };
  });
}

/** Some bring things back to the counter, and nobody knows which order they came from. */
function inventReturn(random: Random, person: Person, index: number): ReturnDocument[] {
  if (person.guest || !random.chance(0.02)) return [];
  const day = Math.min(days - 1, person.since + random.integer(5, 60));
  return [
    {
      source: 'shop',
      externalId: `B-${index + 1}`,
      customer: { externalId: person.externalId },
      returnedAt: instantOf(day, random.integer(9, 18), random),
      currency: person.country === 'CH' ? 'CHF' : 'EUR',
      total: random.integer(300, 2500),
      reason: random.pick(reasons),
    },
  ];
}

function rateOn(rates: Store['rates'], day: number): number {
  const date = dateOf(day);
  return Number(rates.findLast((rate) => rate.date <= date)?.rate ?? 1);
}

function dateOf(day: number): string {
  return Temporal.PlainDate.from(opening).add({ days: day }).toString();
}

export function instantOf(day: number, hour: number, random: Random): string {
  const time = `${twoDigits(hour)}:${twoDigits(random.integer(0, 59))}:${twoDigits(random.integer(0, 59))}`;
  return Temporal.PlainDateTime.from(`${dateOf(day)}T${time}`)
    .toZonedDateTime(zone)
    .toInstant()
    .toString();
}

/** `afterDays` may be a fraction; whole seconds count. */
export function later(instant: string, afterDays: number): string {
  return Temporal.Instant.from(instant)
    .add({ seconds: Math.round(86_400 * afterDays) })
    .toString();
}
