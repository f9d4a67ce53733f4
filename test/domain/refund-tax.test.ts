import fc from 'fast-check';
import t from 'tap';
import { byPlace, netsOfRefunds } from '../../src/domain/refund-tax.ts';

const nets = (total: number, tax: number, ...refunds: (number | [amount: number, tax: number])[]) =>
  netsOfRefunds(
    { total, tax },
    refunds.map((refund) =>
      typeof refund === 'number' ? { amount: refund, tax: null } : { amount: refund[0], tax: refund[1] },
    ),
  ).map(({ net }) => net);

t.test('the published examples: what is left of the net value', async (t) => {
  // 22.00 with 2.00 tax, 11.00 refunded: 10.00 are left.
  t.same(nets(2200, 200, 1100), [1000]);
  // 127.20 with 21.20 tax and 6.00 shipping, 120.00 refunded: the shipping is left.
  t.same(nets(12720, 2120, 12000), [10000]);
  // 126.00 with 21.87 tax, 121.00 refunded: 4.13 are left.
  t.same(nets(12600, 2187, 12100), [10000]);
  // All but a cent of 2,620.63 with 436.77 tax.
  t.same(nets(262063, 43677, 262062), [218385]);
});

t.test('by hand: stated and estimated taxes, one after the other', async (t) => {
  t.same(nets(1000, 100, 500, 500), [450, 450]);
  t.same(nets(1000, 100, [500, 0], 500), [500, 400], 'what one does not count, the next one does');
  t.same(nets(1000, 100, [500, 100], 500), [400, 500]);
  t.same(nets(1000, 100, [1000, 0]), [900], 'a stated tax that leaves less than nothing is raised');
  t.same(nets(1000, 100, [50, 80]), [0], 'no refund has more tax than amount');
  t.same(nets(1000, 0, 300), [300], 'an order without tax');
  t.same(nets(1000, 100, 0), [0]);
  t.same(nets(0, 0, 0), [0]);
  t.same(nets(100, 100, 40, 60), [0, 0], 'nothing but tax');
  t.same(nets(1000, 100, 700, 700), [630, 270], 'more than there was takes what is left');
  t.same(nets(3, 1, 1, 1, 1), [1, 0, 1], 'halves away from zero: 1 ÷ 3, then 1 ÷ 2');
});

const order = fc.record({ total: fc.nat(1_000_000_000_000), part: fc.double({ min: 0, max: 1, noNaN: true }) });
const refund = fc.record({
  part: fc.double({ min: 0, max: 1, noNaN: true }),
  tax: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
});

t.test('whatever is refunded: all of it leaves 0, and no part leaves less or adds value', async () => {
  fc.assert(
    fc.property(order, fc.array(refund, { maxLength: 12 }), ({ total, part }, parts) => {
      const tax = Math.floor(total * part);
      let left = total;
      const refunds = parts.map((one) => {
        const amount = Math.floor(left * one.part);
        left -= amount;
        return { amount, tax: one.tax === null ? null : Math.floor(amount * one.tax) };
      });
      refunds.push({ amount: left, tax: null });
      const found = netsOfRefunds({ total, tax }, refunds);
      let net = total - tax;
      for (const [index, one] of found.entries()) {
        if (one.netBefore !== net || one.net < 0 || one.net > (refunds[index]?.amount ?? 0)) return false;
        net -= one.net;
        if (net < 0) return false;
      }
      return net === 0;
    }),
    { numRuns: 2_000 },
  );
});

t.test('what later refunds do does not change an earlier one', async (t) => {
  const all = netsOfRefunds({ total: 9999, tax: 1596 }, [
    { amount: 3333, tax: null },
    { amount: 17, tax: 3 },
    { amount: 5000, tax: null },
  ]);
  for (const count of [1, 2]) {
    t.same(
      netsOfRefunds(
        { total: 9999, tax: 1596 },
        [
          { amount: 3333, tax: null },
          { amount: 17, tax: 3 },
        ].slice(0, count),
      ),
      all.slice(0, count),
    );
  }
});

t.test('refunds count by when they were given, then by their references, then by their ids', (t) => {
  const place = (refundedAt: string, source: string | null, externalId: string | null, id: string) => ({
    refundedAt: `2026-03-0${refundedAt}T00:00:00.000Z`,
    source,
    externalId,
    id,
  });
  const inOrder = [
    place('1', 'web', '9', 'z'),
    place('2', null, null, 'a'),
    place('2', null, null, 'b'),
    place('2', 'shop', '10', 'y'),
    place('2', 'shop', '9', 'x'),
    place('2', 'web', '1', 'a'),
    place('3', null, null, 'a'),
  ];
  t.same([...inOrder].reverse().sort(byPlace), inOrder);
  t.same(
    [inOrder[4], inOrder[1], inOrder[6], inOrder[0], inOrder[5], inOrder[3], inOrder[2]].sort((a, b) =>
      a && b ? byPlace(a, b) : 0,
    ),
    inOrder,
  );
  t.end();
});
