import t from 'tap';
import type { LoyaltyRules } from '../../src/domain/loyalty-earning.ts';
import { lotDates, pointsOfOrder } from '../../src/domain/loyalty-earning.ts';
import {
  type GoodsItem,
  type GoodsOrder,
  type GoodsRefund,
  goodsLeft,
  OrderGoods,
} from '../../src/domain/loyalty-goods.ts';

/* Points of what is left of an order, by hand: shoes × 2, gift cards × 0, all else × 1; a point for each unit of money. */

const rules: LoyaltyRules = {
  pointsPerUnit: 1,
  rounding: 'down',
  earnOn: 'paid',
  pendingDays: 0,
  expiryDays: null,
  expiresOn: null,
  expiresAtEndOf: null,
  refundPolicy: 'within_balance',
  tierOnRefund: 'recompute',
  includeShipping: true,
  includeFees: true,
  categories: [
    { category: 'shoes', multiplier: 2 },
    { category: 'gift card', multiplier: 0 },
  ],
  campaigns: [],
  tiers: null,
  bonuses: {},
  pointValue: 1,
};

type Line = [sku: string, category: string | null, total: number, quantity?: number];
type Part = { amount: number; shipping?: number; tax?: number; items?: (Partial<GoodsItem> & { sku: string })[] };

function order(lines: Line[], refunds: Part[] = [], more: Partial<GoodsOrder> = {}): GoodsOrder {
  const items = lines.map(([sku, category, total, quantity = 1]) => ({
    externalId: null,
    sku,
    category,
    quantity,
    total,
  }));
  const { shipping = 0, fees = 0, tax = 0, taxIncluded = true } = more;
  const total = items.reduce((sum, line) => sum + line.total, 0) + shipping + fees + (taxIncluded ? 0 : tax);
  return { total, tax, taxIncluded, shipping, fees, items, refunds: refunds.map(refund), ...more };
}

function refund({ amount, shipping = 0, tax, items = [] }: Part): GoodsRefund {
  const whole = items.map((item) => ({ externalId: null, line: null, quantity: 1, total: null, ...item }));
  return { amount, tax: tax ?? null, shipping, items: whole };
}

function points(of: OrderGoods | GoodsOrder, by: Partial<LoyaltyRules> = {}): number {
  const goods = of instanceof OrderGoods ? of : new OrderGoods(of);
  const left = goods.leftOver();
  const { items } = goods.order;
  const facts = { placedAt: '2026-01-01T00:00:00.000Z', campaignId: null, baseRevenue: left.revenue, items, left };
  return pointsOfOrder({ ...rules, ...by }, facts, null, 0);
}

const shoes: Line = ['S', 'shoes', 100];
const book: Line = ['B', 'books', 100];
const card: Line = ['G', 'gift card', 100];

t.test('points are those of the lines that are left', async (t) => {
  const table: [what: string, order: GoodsOrder, points: number][] = [
    ['nothing went back', order([shoes, book]), 300],
    ['a refund without items takes its share', order([shoes, book], [{ amount: 50 }]), 225],
    ['the shoes came back', order([shoes, book], [{ amount: 100, items: [{ sku: 'S' }] }]), 100],
    ['the book came back', order([shoes, book], [{ amount: 100, items: [{ sku: 'B' }] }]), 200],
    ['of a card and a book, the book', order([card, book], [{ amount: 100, items: [{ sku: 'B' }] }]), 0],
    ['by its total', order([shoes, book], [{ amount: 40, items: [{ sku: 'S', total: 40 }] }]), 220],
    ['one of four', order([['S', 'shoes', 100, 4], book], [{ amount: 25, items: [{ sku: 'S' }] }]), 250],
    ['half of one', order([shoes, book], [{ amount: 50, items: [{ sku: 'S', quantity: 0.5 }] }]), 200],
    [
      'more than the line: the rest is spread',
      order([shoes, book], [{ amount: 150, items: [{ sku: 'S', total: 150 }] }]),
      50,
    ],
    ['beyond its items: the rest is spread', order([shoes, book], [{ amount: 120, items: [{ sku: 'S' }] }]), 80],
    ['an unknown item: its share', order([shoes, book], [{ amount: 50, items: [{ sku: 'X', total: 50 }] }]), 225],
    ['goods for less money', order([shoes, book], [{ amount: 80, items: [{ sku: 'S' }] }]), 100],
    ['goods for no money', order([shoes, book], [{ amount: 0, items: [{ sku: 'B' }] }]), 200],
    ['one after the other', order([shoes, book], [{ amount: 100, items: [{ sku: 'S' }] }, { amount: 50 }]), 50],
    [
      'capped by what an earlier one left',
      order([shoes, book], [{ amount: 100 }, { amount: 60, items: [{ sku: 'S', total: 60 }] }]),
      40,
    ],
    [
      'two lines of a sku',
      order([shoes, ['S', 'shoes', 50]], [{ amount: 120, items: [{ sku: 'S', total: 120 }] }]),
      60,
    ],
    ['everything', order([shoes, book], [{ amount: 200 }]), 0],
    ['a negative line takes from its sku', order([shoes, book, ['S', null, -100]]), 100],
    ['else from its category', order([shoes, book, ['X', 'shoes', -50]]), 200],
    ['else from all', order([shoes, book, ['COUPON', null, -50]]), 225],
    ['never below 0', order([book, ['S', 'shoes', -100]]), 0],
    ['shipping at the mean of the whole order', order([shoes, book], [], { shipping: 10 }), 315],
    [
      'shipping given back',
      order([shoes, book], [{ amount: 110, shipping: 10, items: [{ sku: 'S' }] }], { shipping: 10 }),
      100,
    ],
    ['only shipping left', order([card], [{ amount: 100, items: [{ sku: 'G' }] }], { shipping: 10 }), 0],
    ['without lines', order([], [{ amount: 30 }], { total: 100 }), 70],
    ['with tax in it', order([['B', null, 22]], [{ amount: 11 }], { tax: 2 }), 10],
    [
      'with tax on top',
      order([['S', 'shoes', 100], book], [{ amount: 120, items: [{ sku: 'S' }] }], { tax: 40, taxIncluded: false }),
      100,
    ],
    ['half the price by coupon', order([shoes, book], [{ amount: 50, items: [{ sku: 'S' }] }], { total: 100 }), 50],
  ];
  for (const [what, of, expected] of table) t.equal(points(of), expected, what);
  const all = order([shoes, book], [], { shipping: 10, fees: 4 });
  t.equal(points(all, { includeShipping: false }), 306);
  t.equal(points(all, { includeFees: false }), 315);
  t.equal(points(all, { includeShipping: false, includeFees: false }), 300);
});

t.test('returns take from the latest orders that know their goods, and then from the latest', async (t) => {
  const placed = (day: number, lines: Line[], more = {}) => ({
    placedAt: `2026-01-0${day}T00:00:00.000Z`,
    currency: 'EUR',
    qualifying: true,
    ...more,
    ...order(lines),
  });
  const back = (total: number, skus: string[] = [], currency = 'EUR') => {
    const { items } = refund({ amount: total, items: skus.map((sku) => ({ sku })) });
    return { returnedAt: '2026-01-05T00:00:00.000Z', currency, total, items };
  };
  const after = (returns: ReturnType<typeof back>[]) => {
    const orders = [
      placed(1, [shoes]),
      placed(2, [book, shoes]),
      placed(3, [book], { currency: 'USD' }),
      placed(4, [book], { qualifying: false }),
      placed(6, [shoes]),
    ];
    return goodsLeft(orders, returns).map(({ goods }) => points(goods));
  };
  t.same(after([]), [200, 300, 100, 100, 200]);
  t.same(after([back(100)]), [200, 150, 100, 100, 200], 'the latest before it, all lines alike');
  t.same(after([back(100, ['S'])]), [200, 100, 100, 100, 200], 'its goods');
  t.same(
    after([back(100, ['S']), back(100, ['S'])]),
    [0, 100, 100, 100, 200],
    'the same goods again, from an earlier order',
  );
  t.same(after([back(250)]), [100, 0, 100, 100, 200], 'more than the latest');
  t.same(after([back(1_000)]), [0, 0, 100, 100, 200], 'more than there was');
  t.same(after([back(40, [], 'USD')]), [200, 300, 60, 100, 200], 'in their currency');
});

t.test('points expire on a date, or at the end of a day, month or year', async (t) => {
  const expiry = (by: Partial<LoyaltyRules>, at = '2026-03-30T22:30:00.000Z') =>
    lotDates({ ...rules, ...by }, at, 'Europe/Berlin').expiresAt;
  t.equal(expiry({ expiresOn: '2027-03-31' }), '2027-03-31T22:00:00.000Z', 'the day is the last one');
  t.equal(expiry({ expiresAtEndOf: 'day' }), '2026-03-31T22:00:00.000Z', 'the local day');
  t.equal(expiry({ expiresAtEndOf: 'month' }), '2026-03-31T22:00:00.000Z');
  t.equal(expiry({ expiresAtEndOf: 'year' }), '2026-12-31T23:00:00.000Z');
  t.equal(expiry({ expiryDays: 30, expiresAtEndOf: 'month' }), '2026-04-30T22:00:00.000Z');
  t.equal(expiry({ pendingDays: 14, expiresAtEndOf: 'month' }), '2026-04-30T22:00:00.000Z', 'when they are active');
});
