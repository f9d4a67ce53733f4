import { z } from 'zod';
import { claimedInvitations } from '../../src/features/survey-invitations/record.ts';
import { type ServiceClient, ServiceError } from '../service-client.ts';
import type { Members, Reward } from './members.ts';
import { seededRandom } from './random.ts';
import { later, now, type Store } from './store.ts';
import { afterPurchase, afterSupport, type Reaction, react } from './survey-scores.ts';

/**
 * The last year of the shop, a week at a time, with the clock of the service moved along: what is bought, who joins the
 * loyalty programme and what they do with their points, who is asked for an opinion and what they say.
 */
export interface Year {
  seed: number;
  store: Store;
  members: Members;
  calls: readonly unknown[];
  /** Ids of customers by their external id. */
  personIds: ReadonlyMap<string, string>;
}

export interface Hands {
  push(kind: 'orders' | 'returns', step: string, documents: readonly unknown[]): Promise<string[]>;
  /** Moves the clock of the service. */
  moveTo(instant: string): void;
  /** What the service does by night: points expire, birthdays come. */
  night(): Promise<void>;
  done(count: number, step: string): void;
}

const weeks = 52;
export const firstWeek = weekEnd(0);

/** What `liveYear` counts beside orders and refunds. */
export function stepsOf({ members, calls }: Pick<Year, 'members' | 'calls'>): number {
  return members.joins.length + calls.length + weeks;
}

function weekEnd(week: number): string {
  return new Date(later(now, 7 * (week - weeks))).toISOString();
}

const withId = z.object({ id: z.string() });
const page = z.object({ next: z.string().nullable() });
const memberPage = z.object({
  data: z.array(z.object({ customerId: z.string(), active: z.number() })),
  page,
});
const linkAnswer = z.object({ data: z.object({ answerSurveyLink: z.object({ responseId: z.string() }) }) });
const followUpPage = z.object({
  data: z.array(z.object({ id: z.string(), responseId: z.string().nullable() })),
});

export async function liveYear(client: ServiceClient, year: Year, hands: Hands): Promise<void> {
  const { seed, store, members, personIds } = year;
  const post = (path: string, body: unknown, key?: string) =>
    client.request('POST', path, body, key === undefined ? {} : { 'Idempotency-Key': key });

  hands.moveTo(firstWeek);
  const programme = withId.parse(
    await post('/v1/loyalty/programmes', { name: 'Rapport Roasters’ club', rules: members.rules }, 'programme'),
  );
  const validFrom = '2025-06-30T22:00:00Z';
  await client.request('POST', `/v1/loyalty/programmes/${programme.id}/publish`, { validFrom }, { 'If-Match': '*' });
  const rewards: (Reward & { id: string })[] = [];
  for (const [index, reward] of members.rewards.entries()) {
    const body = { ...reward, programmeId: programme.id };
    rewards.push({ ...reward, ...withId.parse(await post('/v1/loyalty/rewards', body, `reward ${index}`)) });
  }
  const purchases = withId.parse(await post('/v1/surveys', afterPurchase, 'after purchase'));
  const support = withId.parse(await post('/v1/surveys', afterSupport, 'after support'));

  const orders = new Map<string, string>();
  const wrong = new Set(store.refunds.map(({ order }) => order));
  const externalIds = new Map([...personIds].map(([externalId, id]) => [id, externalId]));
  const unanswered: { week: number; token: string; order: string; reaction: Reaction }[] = [];
  const responses = new Map<string, string>();

  async function answer(token: string, order: string, { status, answers }: Reaction): Promise<void> {
    const query = `mutation ($token: String!, $input: SurveyLinkInput!) { answerSurveyLink(token: $token, input: $input) { responseId } }`;
    const input = { status: status.toUpperCase(), answers };
    const { data } = linkAnswer.parse(await client.request('POST', '/graphql', { query, variables: { token, input } }));
    responses.set(data.answerSurveyLink.responseId, order);
  }

  async function ask(week: number): Promise<void> {
    for (let round = 0, more = true; more; round += 1) {
      const answered = claimedInvitations.parse(
        await post('/v1/survey-invitations/claim', { limit: 100, surveyId: purchases.id }, `claim ${week} ${round}`),
      );
      more = answered.hasMore;
      for (const { invitation, token } of answered.invitations) {
        const order = orders.get(invitation.orderId ?? '') ?? '';
        const reaction = react(seed, order, wrong.has(order));
        if (reaction) unanswered.push({ week: reaction.late ? week + 3 : week, token, order, reaction });
      }
    }
    for (const waiting of unanswered.splice(0)) {
      if (waiting.week > week) unanswered.push(waiting);
      else await answer(waiting.token, waiting.order, waiting.reaction);
    }
  }

  /** Maria calls those who were unhappy, most of them in time. */
  async function callBack(week: number): Promise<void> {
    const { data } = followUpPage.parse(
      await client.request('GET', '/v1/follow-ups?kind=detractor&status=open&limit=100'),
    );
    for (const { id, responseId } of data) {
      const order = responses.get(responseId ?? '') ?? '';
      const random = seededRandom(seed + 7 * week + Number(order.replace(/\D/g, '')));
      if (!random.chance(0.62)) continue;
      const outcome = random.weighted([
        ['resolved', 55],
        ['retained', 25],
        ['not_reached', 15],
        ['lost', 5],
      ] as const);
      await client.request('PATCH', `/v1/follow-ups/${id}`, { status: 'done', outcome }, { 'If-Match': '*' });
    }
  }

  /** Once a month members look at what they have, and some take something for it. */
  async function redeem(week: number): Promise<void> {
    for (let after: string | null = ''; after !== null; ) {
      const path: string = `/v1/loyalty/members?programmeId=${programme.id}&limit=100&sort=joinedAt${after && `&after=${after}`}`;
      const { data, page: members } = memberPage.parse(await client.request('GET', path));
      after = members.next;
      for (const { customerId, active } of data) {
        const name = externalIds.get(customerId) ?? '';
        const random = seededRandom(seed + 1_009 * week + 31 * Number(name.replace(/\D/g, '')));
        const affordable = rewards.filter(({ points }) => points <= active);
        if (affordable.length === 0 || !random.chance(0.45)) continue;
        const reward = random.pick(affordable);
        const body = { customerId, rewardId: reward.id };
        const redemption = await post('/v1/loyalty/redemptions', body, `${week} ${name}`).catch((error: unknown) => {
          // There are few seats, and not everybody may have one.
          const codes = ['out_of_stock', 'limit_reached', 'tier_required'];
          if (error instanceof ServiceError && codes.includes(error.code ?? '')) return null;
          throw error;
        });
        if (redemption === null) continue;
        const { id } = withId.parse(redemption);
        const [path, more] = random.chance(0.05) ? ['cancel', { reason: 'changed my mind' }] : ['fulfil', {}];
        await post(`/v1/loyalty/redemptions/${id}/${path}`, more, `${path} ${week} ${name}`);
      }
    }
  }

  for (let week = 0; week <= weeks; week += 1) {
    const from = week === 0 ? '' : weekEnd(week - 1);
    const to = weekEnd(week);
    const isOf = (at: string) => at >= from && at < to;
    hands.moveTo(to);
    const placed = store.orders.filter(({ placedAt }) => isOf(placedAt));
    const ids = await hands.push('orders', 'orders', placed);
    for (const [index, { externalId }] of placed.entries()) orders.set(ids[index] ?? '', externalId);
    for (const { order, refund } of store.refunds) {
      if (!isOf(refund.refundedAt)) continue;
      await post(`/v1/orders/external/shop/${order}/refunds`, refund, `refund of ${order}`);
      hands.done(1, 'refunds');
    }
    for (const { externalId, at } of members.joins) {
      if (!isOf(at)) continue;
      const body = { programmeId: programme.id, joinedAt: at };
      await post(`/v1/customers/external/shop/${externalId}/loyalty`, body, `join ${externalId}`);
      hands.done(1, 'members');
    }
    if (week === 0) continue;
    await hands.night();
    if (week % 4 === 0) await redeem(week);
    await ask(week);
    await callBack(week);
    hands.done(1, 'opinions');
  }
  await client.request('POST', `/v1/surveys/${support.id}/responses/batch`, { responses: year.calls });
  hands.done(year.calls.length, 'calls for help');
}
