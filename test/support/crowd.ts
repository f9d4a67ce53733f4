import type { Answer, TestApp } from './app.ts';
import { type House, stockHouse } from './people.ts';
import { newKey } from './shop.ts';

/** Many customers with records of every family, who name each other: what scoped callers see an excerpt of. */

export interface Member {
  /** Stands in every text about the customer, and nowhere else: `zq7x`. */
  word: string;
  id: string;
  /** External id of the customer in source `shop`; those of its records begin with it. */
  name: string;
  email: string;
}

export interface Crowd {
  house: House;
  members: Member[];
  /** Ids of customers that were merged into members. */
  aliases: string[];
}

type Api = Pick<TestApp, 'request'>;

async function sent(api: Api, method: string, path: string, body: unknown): Promise<Answer['body']> {
  const answer = await api.request(method, path, { body, headers: { ...newKey(), 'If-Match': '*' } });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  const refused = answer.body.results?.filter((one: { status: string }) => one.status === 'refused');
  if (refused?.length > 0) throw new Error(`${path}: ${JSON.stringify(refused[0])}`);
  return answer.body;
}

const at = (month: number, day: number) =>
  `2026-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}T10:00:00Z`;

/** Fills a store whose clock stands at the beginning of June 2026. The same each time but for the ids. */
export async function stockCrowd(api: Api, count: number): Promise<Crowd> {
  const house = await stockHouse(api);
  await sent(api, 'PUT', '/v1/exchange-rates', { rates: [{ date: '2026-01-01', currency: 'USD', rate: '0.9' }] });
  const numbers = Array.from({ length: count }, (_, n) => n);
  const reference = (n: number) => ({ source: 'shop', externalId: `c${n}` });
  const word = (n: number) => `zq${n}x`;
  const email = (n: number) => `${word(n)}@example.org`;

  await sent(api, 'POST', '/v1/customers/batch', {
    customers: numbers.map((n) => ({
      name: `Name ${word(n)}`,
      givenName: word(n),
      kind: n % 7 === 6 ? 'company' : 'person',
      identities: [
        { kind: 'email', value: email(n) },
        { kind: 'phone', value: `+44207123${String(1000 + n)}` },
      ],
      references: [reference(n), { source: 'crm', externalId: `crm-${word(n)}` }],
      preferredChannel: (['email', 'phone', 'sms'] as const)[n % 3],
      acquisition: { source: n % 2 ? 'fair' : 'ads', cost: 100 + n, acquiredOn: `2026-0${1 + (n % 5)}-03` },
      attributes: { nick: `nick ${word(n)}` },
      address: { line1: `Street ${word(n)}`, city: 'London', country: 'GB' },
    })),
  });
  const members: Member[] = [];
  for (const n of numbers) {
    const { body } = await api.request('GET', `/v1/customers/external/shop/c${n}`);
    members.push({ word: word(n), id: body.id, name: `c${n}`, email: email(n) });
  }
  const id = (n: number) => members[n % count]?.id;

  // They name each other, across all partners.
  const companies = numbers.filter((n) => n % 7 === 6);
  for (const n of numbers.filter((one) => one % 3 === 0 && one % 7 !== 6)) {
    const company = companies[(5 * n) % companies.length] ?? 0;
    await sent(api, 'PATCH', `/v1/customers/${id(n)}`, { companyId: id(company), referredBy: id(n + 17) });
  }

  const orders = numbers.flatMap((n) =>
    Array.from({ length: 1 + (n % 4) }, (_, k) => ({
      source: 'shop',
      externalId: `c${n}-o${k}`,
      customer: reference(n),
      placedAt: at(1 + ((n + 2 * k) % 5), 1 + ((n * 3 + k) % 27)),
      currency: (['EUR', 'EUR', 'USD', 'CHF'] as const)[(n + k) % 4],
      total: 1000 + 10 * n + k,
      items: [
        { sku: `sku-${word(n)}`, name: `Thing ${word(n)}`, category: 'Toys', quantity: 1, total: 1000 + 10 * n + k },
      ],
      paymentStatus: (n + k) % 9 === 8 ? 'pending' : 'paid',
      channel: (['web', 'store'] as const)[(n + k) % 2],
      ...((n + k) % 3 === 0 && { campaignId: house.campaign }),
      ...((n + k) % 13 === 12 && { test: true }),
    })),
  );
  await sent(api, 'POST', '/v1/orders/batch', { orders });
  for (const n of numbers.filter((one) => one % 3 === 1)) {
    await sent(api, 'POST', `/v1/orders/external/shop/c${n}-o0/refunds`, {
      source: 'shop',
      externalId: `c${n}-f0`,
      amount: 50 + n,
      refundedAt: '2026-05-29T09:00:00Z',
      reason: `reason ${word(n)}`,
    });
  }
  await sent(api, 'POST', '/v1/returns/batch', {
    returns: numbers
      .filter((n) => n % 4 !== 3)
      .map((n) => ({
        source: 'shop',
        externalId: `c${n}-r0`,
        customer: reference(n),
        returnedAt: at(2 + (n % 4), 5 + (n % 20)),
        currency: n % 5 === 4 ? 'USD' : 'EUR',
        total: 100 + n,
        reason: `too small ${word(n)}`,
        items: [{ sku: `sku-${word(n)}`, quantity: 1, total: 100 + n }],
      })),
  });
  await sent(api, 'POST', '/v1/interactions/batch', {
    interactions: numbers.flatMap((n) =>
      Array.from({ length: 2 + (n % 2) }, (_, k) => ({
        source: 'shop',
        externalId: `c${n}-i${k}`,
        customer: reference(n),
        kind: (['phone', 'email_received', 'form', 'web_visit'] as const)[(n + k) % 4],
        direction: k % 2 ? 'outbound' : 'inbound',
        channel: (['hotline', 'web'] as const)[n % 2],
        topic: (['delivery', 'price'] as const)[(n + k) % 2],
        occurredAt: at(1 + ((n + k) % 5), 2 + ((5 * n + k) % 25)),
        staff: (['maria', 'jo'] as const)[n % 2],
        text: `Where is my parcel? ${word(n)}`,
        ticket: `T-${word(n)}`,
        ...(k === 0 && { campaignId: house.campaign }),
      })),
    ),
  });
  const leads = numbers.filter((n) => n % 5 !== 4);
  await sent(api, 'POST', '/v1/leads/batch', {
    leads: leads.map((n) => ({
      customerId: id(n),
      source: n % 2 ? 'fair' : 'web',
      segment: n % 3 ? 'smb' : 'enterprise',
      owner: n % 2 ? 'maria' : 'jo',
      enteredAt: at(1 + (n % 4), 1 + (n % 20)),
    })),
  });
  for (const n of leads.filter((one) => one % 4 === 0)) {
    const body = { to: 'former', lossReason: 'price', note: `note ${word(n)}` };
    await sent(api, 'POST', `/v1/leads/${id(n)}/stage`, body);
  }
  await sent(api, 'POST', `/v1/surveys/${house.survey}/responses/batch`, {
    responses: numbers.flatMap((n) =>
      Array.from({ length: 1 + (n % 2) }, (_, k) => ({
        submissionId: `form-${word(n)}-${k}`,
        answeredAt: at(2 + ((n + k) % 4), 3 + (n % 22)),
        customerId: id(n),
        staff: (['maria', 'jo'] as const)[n % 2],
        department: 'support',
        answers: [
          { question: 'recommend', score: (3 * n + k) % 11 },
          { question: 'content', score: 1 + (n % 5) },
          { question: 'effort', score: 1 + (n % 5) },
        ],
      })),
    ),
  });
  for (const n of numbers.filter((one) => one % 4 === 1)) {
    await sent(api, 'POST', '/v1/survey-invitations', {
      surveyId: house.survey,
      customerId: id(n),
      staff: `staff-${word(n)}`,
    });
  }
  const joined = numbers.filter((n) => n % 3 !== 2);
  for (const n of joined) {
    await sent(api, 'POST', `/v1/customers/${id(n)}/loyalty`, { programmeId: house.programme, joinedAt: at(1, 2) });
  }
  await sent(api, 'POST', '/v1/loyalty/transactions/batch', {
    transactions: joined.map((n) => ({
      kind: n % 2 ? 'spend' : 'adjust',
      customerId: id(n),
      points: 5 + n,
      externalId: `points-${word(n)}`,
      ...(n % 2 === 0 && { reason: `gift ${word(n)}` }),
    })),
  });
  for (const [index, n] of joined.entries()) {
    const to = joined[(index + 5) % joined.length];
    if (index % 4 === 0 && to !== undefined)
      await sent(api, 'POST', '/v1/loyalty/transactions', {
        kind: 'transfer',
        customerId: id(n),
        toCustomerId: id(to),
        points: 2,
      });
    if (index % 3 === 0)
      await sent(api, 'POST', '/v1/loyalty/redemptions', { customerId: id(n), rewardId: house.reward });
  }
  for (const n of numbers.filter((one) => one % 6 === 2)) {
    await sent(api, 'POST', '/v1/follow-ups', {
      customerId: id(n),
      kind: 'retention',
      reason: `asked to cancel ${word(n)}`,
      dueAt: '2026-06-03T17:00:00Z',
    });
  }
  await sent(api, 'POST', '/v1/consents/batch', {
    consents: numbers.map((n) => ({
      customerId: id(n),
      purpose: n % 2 ? 'newsletter' : 'surveys',
      channel: n % 3 ? 'email' : null,
      status: n % 4 ? 'granted' : 'withdrawn',
      evidence: { source: 'shop', wording: `I agree ${word(n)}` },
    })),
  });
  // Some were there twice; their old ids lead to them.
  const aliases: string[] = [];
  for (const n of [2, 4, 19, 45].filter((one) => one < count)) {
    const twin = await sent(api, 'POST', '/v1/customers', {
      name: `Twin ${word(n)}`,
      references: [{ source: 'till', externalId: `twin-${n}` }],
    });
    await sent(api, 'POST', '/v1/orders', {
      ...orders[0],
      items: [{ sku: `sku-${word(n)}`, quantity: 1, total: 1000 }],
      externalId: `twin-o${n}`,
      customer: { source: 'till', externalId: `twin-${n}` },
    });
    await sent(api, 'POST', `/v1/customers/${id(n)}/merge`, { customerId: twin.id });
    aliases.push(twin.id);
  }
  return { house, members, aliases };
}
