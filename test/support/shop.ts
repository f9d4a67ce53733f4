import { randomUUID } from 'node:crypto';
import type { Answer, TestApp } from './app.ts';

/** What a shop sends, for tests that care about one member of it. */

let made = 0;

/** A name nobody in this process has used. */
export function fresh(prefix: string): string {
  made += 1;
  return `${prefix}-${made}`;
}

export const newKey = (): Record<string, string> => ({ 'Idempotency-Key': randomUUID() });

type Members = Record<string, unknown>;

/** An order of 10 EUR that a shop would send; a total alone makes one line of it. */
export function orderOf(members: Members = {}): Members & { source: string; externalId: string } {
  const total = typeof members['total'] === 'number' ? members['total'] : 1000;
  return {
    source: 'shop',
    externalId: fresh('order'),
    customer: members['customerId'] === undefined ? { externalId: 'somebody' } : undefined,
    placedAt: '2026-03-01T10:00:00Z',
    currency: 'EUR',
    total,
    items: [{ sku: 'A', quantity: 1, total }],
    paymentStatus: 'paid',
    ...members,
  };
}

export function returnOf(members: Members = {}): Members & { source: string; externalId: string } {
  return {
    source: 'shop',
    externalId: fresh('return'),
    customer: members['customerId'] === undefined ? { externalId: 'somebody' } : undefined,
    returnedAt: '2026-03-02T10:00:00Z',
    currency: 'EUR',
    total: 500,
    ...members,
  };
}

export function pushOrder(api: Pick<TestApp, 'request'>, members: Members = {}): Promise<Answer> {
  return api.request('POST', '/v1/orders', { body: orderOf(members), headers: newKey() });
}

export function pushReturn(api: Pick<TestApp, 'request'>, members: Members = {}): Promise<Answer> {
  return api.request('POST', '/v1/returns', { body: returnOf(members), headers: newKey() });
}

export function pushRefund(api: Pick<TestApp, 'request'>, orderId: string, members: Members = {}): Promise<Answer> {
  return api.request('POST', `/v1/orders/${orderId}/refunds`, {
    body: { amount: 100, refundedAt: '2026-03-05T10:00:00Z', ...members },
    headers: newKey(),
  });
}

/** All pages of a list, in order. */
export async function allPages(api: Pick<TestApp, 'request'>, path: string): Promise<any[]> {
  const rows: unknown[] = [];
  let after = '';
  for (;;) {
    const { body } = await api.request('GET', `${path}${after && `&after=${encodeURIComponent(after)}`}`);
    rows.push(...body.data);
    if (body.page.next === null) return rows;
    after = body.page.next;
  }
}
