import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { netLeft } from '../../support/refund-oracle.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request, graphql } = api;

/*
 * An order and its refunds come in any order, by any door, are corrected and deleted: what is left is what is left when everything
 * comes in time. Every message has a version, so an older one may come after a newer one.
 */

interface Refund {
  share: number;
  /** Of the tax that is left; not the share of the amount, or it would state what is estimated. */
  taxShare: number;
  day: number;
  states: boolean;
  corrected: boolean;
  deleted: boolean;
}

/** Not `double`, which draws mostly what is next to 0. */
const tenths = fc.integer({ min: 0, max: 10 }).map((tenth) => tenth / 10);

const history = fc
  .record({
    total: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 100, max: 50_000 }) }, fc.constant(0)),
    taxShare: tenths,
    orderCorrected: fc.boolean(),
    refunds: fc.array(
      fc.record<Refund>({
        share: tenths,
        taxShare: tenths,
        day: fc.integer({ min: 1, max: 3 }),
        states: fc.boolean(),
        corrected: fc.boolean(),
        deleted: fc.boolean(),
      }),
      { minLength: 2, maxLength: 4 },
    ),
  })
  .chain((drawn) => {
    const events = [
      { of: -1, version: 2 },
      ...(drawn.orderCorrected ? [{ of: -1, version: 1 }] : []),
      ...drawn.refunds.flatMap(({ corrected, deleted }, of) => [
        { of, version: 2 },
        ...(corrected ? [{ of, version: 1 }] : []),
        ...(deleted ? [{ of, version: 3 }] : []),
      ]),
    ];
    return fc.record({
      drawn: fc.constant(drawn),
      arrival: fc.shuffledSubarray(events, { minLength: events.length }),
      doors: fc.array(fc.nat({ max: 2 }), { minLength: events.length, maxLength: events.length }),
    });
  });

const upper = (document: object) => ({ ...document, paymentStatus: 'PAID' });

/** PUT, a batch or a mutation. */
async function push(kind: 'order' | 'refund', externalId: string, document: object, door: number): Promise<void> {
  const plural = `${kind}s`;
  const refused = (what: unknown) =>
    new Error(`${kind} ${externalId} ${JSON.stringify(document)}: ${JSON.stringify(what)}`);
  if (door === 0) {
    const { status, body } = await request('PUT', `/v1/${plural}/external/shop/${externalId}`, { body: document });
    if (status >= 300 && status !== 410) throw refused(body);
  } else if (door === 1) {
    const items = [{ source: 'shop', externalId, ...document }];
    const { body } = await request('POST', `/v1/${plural}/batch`, { body: { [plural]: items }, headers: newKey() });
    const [result] = body.results;
    if (result.status === 'refused' && result.error.code !== 'deleted') throw refused(result);
  } else {
    const type = kind === 'order' ? 'Order' : 'Refund';
    const { body } = await graphql(
      `mutation ($reference: ReferenceInput!, $input: ${type}Document!) { upsert${type}(reference: $reference, input: $input) { applied } }`,
      { reference: { source: 'shop', externalId }, input: kind === 'order' ? upper(document) : document },
    );
    if (body.errors && body.errors[0].extensions.code !== 'deleted') throw refused(body.errors);
  }
}

t.test('whatever comes first, the revenue, the nets and the statuses are the same', async (t) => {
  await fc.assert(
    fc.asyncProperty(history, async ({ drawn: { total, taxShare, refunds }, arrival, doors }) => {
      const tax = Math.floor(total * taxShare);
      const order = fresh('order');
      let [left, taxes] = [total, tax];
      const all = refunds.map(({ share, taxShare: part, day, states, deleted }) => {
        const amount = Math.floor(left * share);
        const stated = Math.min(amount, Math.floor(taxes * part));
        left -= amount;
        if (states) taxes -= stated;
        const refundedAt = `2026-03-0${day}T00:00:00Z`;
        return { name: fresh('R'), deleted, amount, refundedAt, tax: states ? stated : null };
      });
      /** An earlier version had less, so that each fits at any time. */
      const refundIn = ({ amount, refundedAt, tax: stated }: (typeof all)[number], version: number) => ({
        order: { externalId: order },
        sourceVersion: version,
        refundedAt: version === 1 ? '2026-03-02T12:00:00Z' : refundedAt,
        amount: version === 1 ? Math.floor(amount / 2) : amount,
        tax: stated !== null && version === 1 ? Math.floor(stated / 2) : stated,
      });
      const {
        source: _,
        externalId: __,
        ...document
      } = orderOf({ customer: { source: 'shop', externalId: fresh('C') }, tax, taxIncluded: true });
      const orderIn = (version: number) => {
        const sum = version === 1 ? total + 500 : total;
        return { ...document, sourceVersion: version, total: sum, items: [{ sku: 'A', quantity: 1, total: sum }] };
      };
      const come = new Set<number>();
      const late: number[] = [];
      const remove = async (of: number) => {
        const { status, body } = await request('DELETE', `/v1/refunds/external/shop/${all[of]?.name}`, {
          headers: { 'If-Match': '*' },
        });
        if (status !== 204) throw new Error(JSON.stringify(body));
      };
      for (const [at, { of, version }] of arrival.entries()) {
        const refund = all[of];
        if (!refund) await push('order', order, orderIn(version), doors[at] ?? 0);
        else if (version < 3) {
          await push('refund', refund.name, refundIn(refund, version), doors[at] ?? 0);
          come.add(of);
        } else if (come.has(of)) await remove(of);
        else late.push(of); // there is nothing to delete yet
      }
      for (const of of late) await remove(of);

      const kept = all
        .filter(({ deleted }) => !deleted)
        .sort((a, b) =>
          a.refundedAt === b.refundedAt ? (a.name < b.name ? -1 : 1) : a.refundedAt < b.refundedAt ? -1 : 1,
        );
      const leftAfter = (count: number) => netLeft({ total, tax }, kept.slice(0, count));
      const refunded = kept.reduce((sum, { amount }) => sum + amount, 0);
      const expected = {
        revenue: leftAfter(kept.length),
        refunded,
        status: refunded > 0 ? (refunded >= total ? 'refunded' : 'partially_refunded') : 'paid',
        nets: kept.map(({ name }, index) => [name, 'applied', leftAfter(index) - leftAfter(index + 1)]),
      };
      const { body } = await request('GET', `/v1/orders/external/shop/${order}`);
      const list = await request('GET', `/v1/orders/${body.id}/refunds?sort=refundedAt&limit=100`);
      const nets = new Map(
        list.body.data.map(({ externalId, status, net }: any) => [externalId, [externalId, status, net]]),
      );
      const found = {
        revenue: body.revenue,
        refunded: body.refunded,
        status: body.status,
        nets: kept.map(({ name }) => nets.get(name)),
      };
      if (JSON.stringify(found) !== JSON.stringify(expected) || nets.size !== kept.length) {
        throw new Error(`${JSON.stringify(found)}; right is ${JSON.stringify(expected)}`);
      }
    }),
    { numRuns: draws({ quick: 25, deep: 400 }) },
  );
  const waiting = await request('GET', '/v1/refunds?status=waiting');
  t.same(waiting.body.data, [], 'nothing is left waiting');
  const verify = await rollupVerifier(t, api.url);
  t.match(await verify(), { code: 0 });
});
