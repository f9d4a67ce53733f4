import { z } from 'zod';
import type { customerConsentInput } from '../../src/features/consents/record.ts';
import { metricResult } from '../../src/features/metrics/model.ts';
import { listPartners } from '../../src/features/partners/operations.ts';
import type { PartnerInput } from '../../src/features/partners/record.ts';
import { pageInfo } from '../../src/platform/page.ts';
import { type ServiceClient, ServiceError } from '../service-client.ts';
import { table } from './calls.ts';
import { seededRandom } from './random.ts';
import { days, instantOf, type Store } from './store.ts';

/** Who agreed to what, with whom customers are shared, and who is in the shop's records twice. */
export interface Sharing {
  consents: (Omit<z.input<typeof customerConsentInput>, 'customerId'> & { externalId: string })[];
  partner: PartnerInput;
  /** Second records of customers, as an app made them that knew nothing of the shop. */
  twins: { externalId: string; document: object }[];
}

const sharedPurpose = 'partner_offers';

export function inventSharing(seed: number, store: Store): Sharing {
  const random = seededRandom(seed + 5);
  const known = store.people.filter(({ guest }) => !guest);
  const consents = known.flatMap(({ externalId, since }): Sharing['consents'] => {
    const evidence = { source: 'registration form', textVersion: '2024-01' };
    const said = { externalId, status: 'granted', evidence } as const;
    const newsletter = random.chance(0.55)
      ? [{ ...said, purpose: 'newsletter', at: instantOf(since, 12, random) }]
      : [];
    const changedMind = newsletter.length > 0 && random.chance(0.15);
    const offers = random.chance(0.25) ? [{ ...said, purpose: sharedPurpose, at: instantOf(since, 12, random) }] : [];
    const withdrawn = { ...said, status: 'withdrawn', evidence: { source: 'link in a newsletter' } } as const;
    return [
      ...newsletter,
      ...(changedMind
        ? [
            {
              ...withdrawn,
              purpose: 'newsletter',
              at: instantOf(Math.min(since + random.integer(20, 300), days - 1), 12, random),
            },
          ]
        : []),
      ...offers,
    ];
  });
  const twins = known.slice(0, 3).map(({ externalId, name }, index) => ({
    externalId,
    document: {
      name,
      identities: [{ kind: 'email', value: `app.user.${index + 1}@example.org` }],
      references: [{ source: 'app', externalId: `A-${index + 1}` }],
    },
  }));
  return {
    consents,
    partner: {
      name: 'Nordkaffee Service',
      fields: ['Customer.name', 'Customer.locale'],
      rules: { consent: { purpose: sharedPurpose } },
    },
    twins,
  };
}

const withId = z.object({ id: z.string() });

/** Makes the second records and merges them with the first ones. */
export async function mergeTwins(client: ServiceClient, { twins }: Sharing): Promise<void> {
  for (const { externalId, document } of twins) {
    const key = (what: string) => ({ 'Idempotency-Key': `${what} ${externalId}` });
    const find = client.request('GET', `/v1/customers/external/shop/${externalId}`);
    const [first, second] = await Promise.all([
      find.then((answer) => withId.parse(answer)),
      client.request('POST', '/v1/customers', document, key('twin')).then((answer) => withId.parse(answer)),
    ]);
    await client.request('POST', `/v1/customers/${first.id}/merge`, { customerId: second.id }, key('merge'));
  }
}

/** What one token sees. */
interface Viewer {
  who: string;
  client: ServiceClient;
}

/** What the shop, its partner and one customer see of the same store. */
export async function sharingTable(viewers: readonly Viewer[]): Promise<string> {
  const rows = await Promise.all(
    viewers.map(async ({ who, client }) => [
      who,
      await countOf(client, 'customers'),
      await countOf(client, 'orders'),
      await repeatShare(client),
    ]),
  );
  return table(['who asks', 'customers', 'orders', 'repeat buyers'], rows, [1, 2]);
}

const counted = z.object({ page: pageInfo });

async function countOf(client: ServiceClient, kind: string): Promise<string> {
  const { page } = counted.parse(await client.request('GET', `/v1/${kind}?limit=1&count=true`));
  return String(page.total);
}

async function repeatShare(client: ServiceClient): Promise<string> {
  try {
    const answer = await client.request('GET', '/v1/metrics/repeat-purchase-rate');
    const { value, numerator, denominator } = metricResult.parse(answer);
    return `${value === null ? '—' : `${(100 * value).toFixed(1)} %`} (${numerator} of ${denominator})`;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return `refused: ${error.code}`;
  }
}

/** The shop's one partner. */
export async function partnerId(client: ServiceClient): Promise<string> {
  const { data } = listPartners.output.parse(await client.request('GET', '/v1/partners'));
  if (!data[0]) throw new Error('There is no partner.');
  return data[0].id;
}
