import { SingleBar } from 'cli-progress';
import { z } from 'zod';
import { batchResults } from '../../src/platform/batch.ts';
import type { ServiceClient } from '../service-client.ts';
import type { LeadStore } from './leads.ts';
import type { Members } from './members.ts';
import { mergeTwins, type Sharing } from './sharing.ts';
import { now, type Store } from './store.ts';
import { type Hands, liveYear, stepsOf } from './year.ts';

const perBatch = 500;
const qualified = z.object({ next: z.string().nullable() });

/** All that is invented, for one seed. */
export interface Invented {
  seed: number;
  store: Store;
  leads: LeadStore;
  members: Members;
  sharing: Sharing;
  /** Answers of those who called for help. */
  calls: readonly unknown[];
}

/**
 * Pushes the store through the API, as a shop would: companies and people, rates, then orders with all that happens
 * around them (year.ts), returns; at last campaigns, leads and what happened with them,
 * consents, a partner, and customers who are there twice and merged. Everything is an upsert or has
 * an Idempotency-Key.
 *
 * @param signal ends it between two requests: throws what it was aborted with
 */
export async function fillStore(
  client: ServiceClient,
  invented: Invented,
  { moveTo, night }: Pick<Hands, 'moveTo' | 'night'>,
  signal: AbortSignal,
): Promise<void> {
  const { store, leads } = invented;
  const known = store.people.filter(({ guest }) => !guest);
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {step} | {duration_formatted}',
    barsize: 30,
    hideCursor: true,
    // Without a terminal: a line every few seconds.
    noTTYOutput: true,
    notTTYSchedule: 5_000,
  });
  const { companies, rates, orders, refunds, returns } = store;
  const steps = [
    companies,
    known,
    orders,
    refunds,
    returns,
    leads.customers,
    leads.leads,
    leads.interactions,
    invented.sharing.consents,
  ];
  bar.start(
    steps.reduce((sum, { length }) => sum + length, leads.losses.length + stepsOf(invented)),
    0,
    { step: 'customers' },
  );
  try {
    const push = (kind: string, step: string, documents: readonly unknown[], key?: string) =>
      pushBatches(client, kind, documents, key, (count) => {
        bar.increment(count, { step });
        signal.throwIfAborted();
      });
    const companyIds = await push('customers', 'companies', companies);
    const personIds = new Map<string, string>();
    for (let at = 0; at < known.length; at += perBatch) {
      const part = known.slice(at, at + perBatch);
      const documents = part.map(({ document, company, referredBy }) => {
        const companyId = company === null ? undefined : companyIds[company];
        // Who refers somebody came earlier; whoever is in the same batch has no id yet.
        const referrer = referredBy === null ? undefined : personIds.get(store.people[referredBy]?.externalId ?? '');
        return { ...document, ...(companyId && { companyId }), ...(referrer && { referredBy: referrer }) };
      });
      const ids = await push('customers', 'customers', documents);
      for (const [index, { externalId }] of part.entries()) personIds.set(externalId, ids[index] ?? '');
    }
    await client.request('PUT', '/v1/exchange-rates', { rates });
    await liveYear(
      client,
      { ...invented, personIds },
      {
        push,
        moveTo,
        night,
        done: (count, step) => {
          bar.increment(count, { step });
          signal.throwIfAborted();
        },
      },
    );
    moveTo(now);
    await push('returns', 'returns', returns);
    const campaignIds = await push('campaigns', 'campaigns', leads.campaigns);
    for (const rule of leads.rules) {
      await client.request('POST', '/v1/assignment-rules', rule, { 'Idempotency-Key': `rule ${rule.name}` });
    }
    await push('customers', 'leads', leads.customers);
    await push('leads', 'leads', leads.leads);
    const interactions = leads.interactions.map(({ document, campaign }) => ({
      ...document,
      ...(campaign !== null && { campaignId: campaignIds[campaign] }),
    }));
    await push('interactions', 'interactions', interactions);
    for (const { externalId, at, reason } of leads.losses) {
      const path = `/v1/leads/external/shop/${externalId}/stage`;
      await client.request('POST', path, { to: 'former', at, lossReason: reason });
      bar.increment(1, { step: 'lost leads' });
      signal.throwIfAborted();
    }
    const { consents, partner } = invented.sharing;
    await push(
      'consents',
      'consents',
      consents.map(({ externalId, ...consent }) => ({ customerId: personIds.get(externalId), ...consent })),
      'consents',
    );
    await client.request('POST', '/v1/partners', partner, { 'Idempotency-Key': 'partner' });
    await mergeTwins(client, invented.sharing);
    // The funnel counts what happened before the moment that it is asked for, and the demo's clock stands still at `now`.
    moveTo(new Date(Date.parse(now) - 60_000).toISOString());
    for (let after: string | null = ''; after !== null; ) {
      const path: string = `/v1/leads/qualify${after && `?after=${after}`}`;
      ({ next: after } = qualified.parse(await client.request('POST', path)));
    }
    moveTo(now);
  } finally {
    bar.stop();
  }
}

/**
 * Ids of the records, in order.
 *
 * @param key for what is new each time it is sent
 */
async function pushBatches(
  client: ServiceClient,
  kind: string,
  documents: readonly unknown[],
  key: string | undefined,
  onProgress: (count: number) => void,
): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < documents.length; at += perBatch) {
    const part = documents.slice(at, at + perBatch);
    const headers = key === undefined ? {} : { 'Idempotency-Key': `${key} ${at}` };
    const answer = await client.request('POST', `/v1/${kind}/batch`, { [kind]: part }, headers);
    const { results } = batchResults.parse(answer);
    const refused = results.find(({ status }) => status === 'refused');
    if (refused) {
      const text = JSON.stringify({ document: part[refused.index], error: refused.error });
      throw new Error(`The demo's own ${kind} were refused: ${text}`);
    }
    ids.push(...results.map(({ id }) => id ?? ''));
    onProgress(part.length);
  }
  return ids;
}
