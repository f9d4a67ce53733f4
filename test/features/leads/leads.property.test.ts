import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { type Answer, testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { legal, type Stage, stages } from '../../support/leads.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

const any = { 'If-Match': '*' };
const claim = () => ({ source: 'web', externalId: fresh('lead') });

/*
 * Random histories against a loop that is told what happened and works out, after every step, what a lead is: written
 * without a look at the SQL of conversion.ts.
 */
interface Sale {
  id: string;
  externalId: string;
  customer: number;
  placedAt: string;
  cancelled: boolean;
  test: boolean;
  refund: string | null;
}
interface Change {
  at: string;
  from: Stage | null;
  to: Stage;
  rule: string | null;
  lossReason: string | null;
  orderId: string | null;
}
interface Expected {
  changes: Change[];
}
const latest = (a: string, b: string) => [a, b].sort().at(-1) as string; // of two; all of one spelling
/** Members in one order, for comparison. */
const plain = ({ at, from, to, rule, lossReason, orderId }: Change): Change => ({
  at,
  from,
  to,
  rule,
  lossReason,
  orderId,
});

class Replay {
  readonly claims = [claim(), claim(), claim()];
  readonly leads = new Map<number, Expected>();
  readonly sales: Sale[] = [];
  now = '2026-01-01T00:00:00.000Z';

  /** What a lead's record says, read off its changes. */
  static record({ changes }: Expected) {
    const last = changes.at(-1) as Change; // a lead has a beginning
    const conversion = changes.findLast(
      ({ to }, i) => to === 'customer' && changes[i + 1]?.rule !== 'no_qualifying_order_left',
    );
    return {
      stage: last.to,
      stageSince: last.at,
      lossReason: last.lossReason,
      convertedAt: conversion?.at ?? null,
      conversionOrderId: conversion?.orderId ?? null,
    };
  }

  /** The orders that count for a lead, the first one first. */
  counting(customer: number, { changes }: Expected): Sale[] {
    const lost = changes.findLast(({ to, rule }) => to === 'former' && rule === null)?.at ?? '';
    return this.sales
      .filter((sale) => sale.customer === customer && !sale.cancelled && !sale.test && sale.refund === null)
      .filter(({ placedAt }) => placedAt > lost)
      .sort((a, b) => (a.placedAt === b.placedAt ? (a.id < b.id ? -1 : 1) : a.placedAt < b.placedAt ? -1 : 1));
  }

  /** To be called after everything that happens. */
  recompute(): void {
    for (const [customer, lead] of this.leads) {
      const { changes } = lead;
      const last = changes.at(-1) as Change; // a lead has a beginning
      const [first] = this.counting(customer, lead);
      const converted = last.rule === 'first_qualifying_order';
      if (converted && first) {
        const before = changes.at(-2)?.at ?? '';
        last.at = latest(first.placedAt, before);
        last.orderId = first.id;
      } else if (converted) {
        const at = latest(this.now, last.at);
        const lossReason = changes.at(-2)?.lossReason ?? null;
        changes.push({
          at,
          from: 'customer',
          to: last.from as Stage,
          rule: 'no_qualifying_order_left',
          lossReason,
          orderId: null,
        }); // rules do not begin a lead
      } else if (last.to !== 'customer' && first) {
        const at = latest(first.placedAt, last.at);
        changes.push({
          at,
          from: last.to,
          to: 'customer',
          rule: 'first_qualifying_order',
          lossReason: null,
          orderId: first.id,
        });
      }
    }
  }
}

const customer = fc.nat({ max: 2 });
const sale = fc.nat({ max: 11 });
const day = fc.integer({ min: -30, max: 10 });
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('lead'), customer, stage: fc.constantFrom(...stages), day }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('stage'), customer, to: fc.constantFrom(...stages), day: fc.option(day) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unlead'), customer }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('order'), customer, day, test: fc.constantFrom(false, false, true) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('batch'), customer, days: fc.array(day, { minLength: 1, maxLength: 4 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('cancel'), sale, cancelled: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('redate'), sale, day }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('refund'), sale }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('move'), sale, customer }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete'), sale }) },
);
type StepKind = typeof step extends fc.Arbitrary<infer S> ? S : never;

t.test('random histories of stages, orders, cancellations, refunds, moves and deletions', async (t) => {
  let time = Date.parse('2026-01-01T00:00:00Z');
  const clocked = await testApp(t, { clock: () => new Date(time).toISOString() });
  const send = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
    const key = method === 'POST' ? newKey() : any;
    return clocked.request(method, path, { ...(body && { body }), headers: { ...key, ...headers } });
  };

  /** Does a step in the service and in the replay; answers whether there was anything to do. */
  async function run(replay: Replay, one: StepKind): Promise<void> {
    time += 86_400_000;
    replay.now = new Date(time).toISOString();
    const on = (days: number) => new Date(time + Math.min(0, days) * 86_400_000 * 3 + days).toISOString();
    const who = (index: number) => replay.claims[index] as { source: string; externalId: string }; // three of them
    const ok = ({ status, body }: Answer) => {
      if (status >= 300) throw new Error(`${one.kind}: ${status} ${JSON.stringify(body)}`);
      return body;
    };
    const order = (index: number, placedAt: string, test = false) => orderOf({ customer: who(index), placedAt, test });
    const booked = (
      body: { id: string },
      sent: { externalId: string },
      index: number,
      placedAt: string,
      test = false,
    ) =>
      replay.sales.push({
        id: body.id,
        externalId: sent.externalId,
        customer: index,
        placedAt,
        cancelled: false,
        test,
        refund: null,
      });
    if ('customer' in one && one.kind !== 'move') {
      const lead = replay.leads.get(one.customer);
      const path = `/v1/leads/external/web/${who(one.customer).externalId}`;
      if (one.kind === 'lead' && 'stage' in one) {
        const lossReason = one.stage === 'former' ? 'price' : null;
        const answer = await send('POST', '/v1/leads', {
          customer: who(one.customer),
          stage: one.stage,
          enteredAt: on(one.day),
          ...(lossReason && { lossReason }),
        });
        if (lead) return assert.equal(answer.status, 409);
        ok(answer);
        replay.leads.set(one.customer, {
          changes: [{ at: on(one.day), from: null, to: one.stage, rule: null, lossReason, orderId: null }],
        });
      } else if (one.kind === 'stage' && 'to' in one) {
        const lossReason = one.to === 'former' ? 'price' : null;
        const given = one.day === null ? null : on(one.day);
        const body = { to: one.to, ...(lossReason && { lossReason }), ...(given && { at: given }) };
        const answer = await send('POST', `${path}/stage`, body);
        if (!lead) return assert.equal(answer.status, 404);
        const last = lead.changes.at(-1) as Change; // a lead has a beginning
        const at = given ?? latest(replay.now, last.at);
        if (last.to === one.to) return assert.deepEqual([answer.status, answer.body.applied], [200, false]);
        if (!legal[last.to].includes(one.to) || at < last.at) return assert.equal(answer.status, 422);
        ok(answer);
        lead.changes.push({ at, from: last.to, to: one.to, rule: null, lossReason, orderId: null });
      } else if (one.kind === 'unlead') {
        const answer = await send('DELETE', path);
        assert.equal(answer.status, lead ? 204 : 404);
        replay.leads.delete(one.customer);
      } else if (one.kind === 'order' && 'test' in one) {
        const sent = order(one.customer, on(one.day), one.test);
        booked(ok(await send('POST', '/v1/orders', sent)), sent, one.customer, on(one.day), one.test);
      } else if (one.kind === 'batch' && 'days' in one) {
        const orders = one.days.map((days) => order(one.customer, on(days)));
        const { results } = ok(await send('POST', '/v1/orders/batch', { orders }));
        for (const [i, sent] of orders.entries()) booked(results[i], sent, one.customer, on(one.days[i] ?? 0));
      }
    } else if ('sale' in one) {
      const found = replay.sales[one.sale % Math.max(1, replay.sales.length)];
      if (!found) return;
      const path = `/v1/orders/${found.id}`;
      if (one.kind === 'cancel' && 'cancelled' in one) {
        ok(await send('PATCH', path, { cancelledAt: one.cancelled ? replay.now : null }));
        found.cancelled = one.cancelled;
      } else if (one.kind === 'redate' && 'day' in one) {
        ok(await send('PATCH', path, { placedAt: on(one.day) }));
        found.placedAt = on(one.day);
      } else if (one.kind === 'refund') {
        if (found.refund) ok(await send('DELETE', `/v1/refunds/${found.refund}`));
        found.refund = found.refund
          ? null
          : ok(await send('POST', `${path}/refunds`, { amount: 1000, refundedAt: replay.now })).id;
      } else if (one.kind === 'move' && 'customer' in one) {
        ok(await send('PATCH', path, { customer: who(one.customer) }));
        found.customer = one.customer;
      } else if (one.kind === 'delete') {
        ok(await send('DELETE', path));
        replay.sales.splice(replay.sales.indexOf(found), 1);
      }
    }
    replay.recompute();
  }

  const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (all) => {
    const replay = new Replay();
    const done: string[] = [];
    for (const one of all) {
      done.push(JSON.stringify(one));
      await run(replay, one);
      for (const [index, expected] of replay.leads) {
        const path = `/v1/leads/external/web/${replay.claims[index]?.externalId}`;
        const [{ body: stored }, { body: page }] = await Promise.all([
          send('GET', path),
          send('GET', `${path}/stages?limit=100`),
        ]);
        const { stage, stageSince, lossReason, convertedAt, conversionOrderId } = stored;
        const record = { stage, stageSince, lossReason, convertedAt, conversionOrderId };
        assert.deepEqual(
          { record, changes: page.data.map(plain) },
          { record: Replay.record(expected), changes: expected.changes.map(plain) },
          done.join('\n'),
        );
      }
    }
  });
  await fc.assert(property, { numRuns: draws({ quick: 8, deep: 60 }) });
  t.pass('every history led to what was expected');
});
