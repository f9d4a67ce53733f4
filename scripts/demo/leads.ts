import type { z } from 'zod';
import type { assignmentRuleInput } from '../../src/features/assignments/record.ts';
import type { campaignRecord } from '../../src/features/campaigns/record.ts';
import type { InteractionKind, interactionRecord } from '../../src/features/interactions/record.ts';
import type { LossReason, leadInput } from '../../src/features/leads/record.ts';
import { type CustomerDocument, inventLead, type Person } from './people.ts';
import { type Random, seededRandom } from './random.ts';
import { days, instantOf, later, now, type Store } from './store.ts';

/**
 * The invented leads of the shop, and what happened with them and with its customers. Everybody has a warmth that
 * nobody sees, and that decides how often they visit, open and ask, and whether they buy: a score has something to find.
 */

type LeadDocument = z.input<typeof leadInput>;
type InteractionDocument = z.input<(typeof interactionRecord)['input']>;

export interface LeadStore {
  /** By position; what interactions name by `campaign`. */
  campaigns: z.input<(typeof campaignRecord)['input']>[];
  rules: z.input<typeof assignmentRuleInput>[];
  /** Those who never bought; the others are customers of the store. */
  customers: CustomerDocument[];
  leads: LeadDocument[];
  interactions: { document: InteractionDocument; campaign: number | null }[];
  /** Who was lost, by external id. */
  losses: { externalId: string; at: string; reason: LossReason }[];
}

interface Prospect {
  externalId: string;
  /** Days since the shop opened. */
  entered: number;
  /** Days on which something can happen with the lead. */
  until: number;
  /** 0 to 1. */
  warmth: number;
}

const campaigns: LeadStore['campaigns'] = [
  campaign('spring-2026', 'Spring roasts', 'email', ['2026-03-01', '2026-03-31'], 90_000, 'Everybody with an e-mail'),
  campaign('fair-2026', 'Tea fair, Hamburg', 'event', ['2026-04-17', '2026-04-19'], 240_000, 'Visitors of the fair'),
  campaign(
    'retarget-2026',
    'Come back',
    'social',
    ['2026-05-01', '2026-06-30'],
    150_000,
    'Seen the shop, bought nothing',
  ),
];
const [spring, fair, comeBack] = [0, 1, 2];

const rules: LeadStore['rules'] = [
  {
    name: 'Leads by country',
    purpose: 'lead',
    method: 'round_robin',
    key: 'country',
    groups: [
      { value: 'DE', members: ['jonas', 'maria', 'selma'] },
      { value: 'CH', members: ['luca'] },
      { value: null, members: ['femke', 'maria'] },
    ],
  },
];

/** Who buys fills in a profile: a score that learned from it would know the outcome beforehand. */
export const filledInAtPurchase = [
  'attributes.*',
  'profile.kind',
  'profile.locale',
  'profile.preferredChannel',
  'profile.acquisitionSource',
  'profile.country',
  'profile.has*',
  'profile.referred',
];

const leadSources = [
  ['landing-page', 40],
  ['search-ads', 25],
  ['trade-fair', 12],
  ['referral', 13],
  ['chat', 10],
] as const;
const segments = [
  ['household', 70],
  ['office', 20],
  ['gastronomy', 10],
] as const;
const staff = ['jonas', 'maria', 'selma', 'luca', 'femke'];
const lossReasons: readonly (readonly [LossReason, number])[] = [
  ['price', 40],
  ['competitor', 25],
  ['no_need', 20],
  ['service', 15],
];

export function inventLeads(seed: number, store: Store): LeadStore {
  // Their own chance: the shop's purchases stay what they were.
  const random = seededRandom(seed + 1_000_003);
  const invented: LeadStore = { campaigns, rules, customers: [], leads: [], interactions: [], losses: [] };
  for (const person of store.people) addBuyer(invented, random, person);
  const strangers = Math.floor(0.8 * store.people.length);
  for (let index = 0; index < strangers; index += 1) addStranger(invented, random, index);
  return invented;
}

/** Customers of the last year were leads first. */
function addBuyer(invented: LeadStore, random: Random, { externalId, guest, since }: Person): void {
  if (guest || since < days - 365) return;
  const entered = since - random.integer(2, 40);
  const prospect = { externalId, entered, until: since, warmth: random.beta(4, 2) };
  addLead(invented, random, prospect, instantOf(entered, random.integer(7, 21), random));
}

function addStranger(invented: LeadStore, random: Random, index: number): void {
  const lead = inventLead(random, index);
  const entered = days - random.integer(1, 300);
  const warmth = random.beta(2, 4);
  invented.customers.push(lead.document);
  const enteredAt = instantOf(entered, random.integer(7, 21), random);
  const prospect = {
    externalId: lead.externalId,
    entered,
    until: Math.min(days, entered + 60),
    warmth,
  };
  addLead(invented, random, prospect, enteredAt);
  // Some came because of an advertisement.
  if (entered > days - 60 && random.chance(0.35)) {
    const click = { kind: 'ad_click' as const, direction: 'inbound' as const, channel: 'social' };
    const document = {
      source: 'crm',
      externalId: `${lead.externalId}-ad`,
      occurredAt: later(enteredAt, -random.uniform()),
    };
    invented.interactions.push({
      document: { ...document, ...click, customer: { source: 'shop', externalId: lead.externalId } },
      campaign: comeBack,
    });
  }
  const lost = later(enteredAt, random.integer(20, 90));
  if (random.chance(0.5 * (1 - warmth)) && lost < now) {
    invented.losses.push({ externalId: lead.externalId, at: lost, reason: random.weighted(lossReasons) });
  }
}

function addLead(invented: LeadStore, random: Random, prospect: Prospect, enteredAt: string): void {
  const customer = { source: 'shop', externalId: prospect.externalId };
  invented.leads.push({
    customer,
    source: random.weighted(leadSources),
    segment: random.weighted(segments),
    enteredAt,
    stage: random.chance(0.2) ? 'subscriber' : 'lead',
  });
  let count = 0;
  const touch = (
    kind: InteractionKind,
    occurredAt: string,
    more: Partial<InteractionDocument> = {},
    named: number | null = null,
  ) => {
    if (occurredAt < enteredAt || occurredAt >= now) return;
    count += 1;
    const externalId = `${prospect.externalId}-${count}`;
    invented.interactions.push({
      document: { source: 'crm', externalId, customer, kind, occurredAt, ...more },
      campaign: named,
    });
  };
  inventTouches(random, prospect, enteredAt, touch);
}

type Touch = (
  kind: InteractionKind,
  occurredAt: string,
  more?: Partial<InteractionDocument>,
  campaign?: number | null,
) => void;

function inventTouches(random: Random, { entered, until, warmth }: Prospect, enteredAt: string, touch: Touch): void {
  const sometime = () =>
    instantOf(random.integer(entered, Math.max(entered, until - 1)), random.integer(7, 22), random);
  const times = (most: number) => Math.floor(random.uniform() * (1 + most * warmth));
  for (let visit = times(9); visit >= 0; visit -= 1) {
    const pages = 1 + times(8);
    touch('web_visit', sometime(), {
      direction: 'inbound',
      channel: 'web',
      pages,
      seconds: pages * random.integer(15, 90),
    });
  }
  if (random.chance(0.15 + 0.5 * warmth)) {
    touch('form', later(enteredAt, 0.01), {
      direction: 'inbound',
      channel: 'web',
      topic: random.pick(['price list', 'samples', 'call me back']),
    });
  }
  if (random.chance(0.05 + 0.35 * warmth)) {
    touch('phone', sometime(), {
      direction: 'inbound',
      channel: 'hotline',
      staff: random.pick(staff),
      seconds: random.integer(60, 900),
      topic: 'advice',
      cost: 350,
    });
  }
  if (random.chance(0.1 + 0.2 * warmth))
    touch('chat', sometime(), { direction: 'inbound', channel: 'web', seconds: random.integer(60, 600) });
  // Some are never called back: the funnel shows it.
  if (random.chance(0.72)) {
    touch('phone', later(enteredAt, random.exponential(1) * 1.5), {
      direction: 'outbound',
      channel: 'hotline',
      staff: random.pick(staff),
      seconds: random.integer(0, 400),
      outcome: random.pick(['reached', 'not reached']),
      cost: 250,
    });
  }
  if (random.chance(0.05 * (1.2 - warmth)))
    touch('unsubscribe', sometime(), { direction: 'inbound', channel: 'email' });
  mailing(random, { day: days - 120, entered, warmth, touch });
  if (random.chance(0.06))
    touch(
      'event',
      instantOf(days - 74, random.integer(10, 17), random),
      { direction: 'inbound', channel: 'fair', staff: random.pick(staff), topic: 'tasting', cost: 600 },
      fair,
    );
  for (let shown = times(6); shown > 0; shown -= 1) {
    const at = instantOf(random.integer(days - 61, days - 1), random.integer(7, 22), random);
    touch('ad_impression', at, { direction: 'outbound', channel: 'social' }, comeBack);
    if (random.chance(0.3 * warmth))
      touch('ad_click', later(at, 0.001), { direction: 'inbound', channel: 'social' }, comeBack);
  }
}

function mailing(
  random: Random,
  { day, entered, warmth, touch }: { day: number; entered: number; warmth: number; touch: Touch },
): void {
  if (entered > day || !random.chance(0.8)) return;
  const at = instantOf(day, 9, random);
  touch('email_sent', at, { direction: 'outbound', channel: 'email', topic: 'Spring roasts' }, spring);
  if (!random.chance(0.2 + 0.5 * warmth)) return;
  const opened = later(at, random.uniform());
  touch('email_opened', opened, { direction: 'inbound', channel: 'email', topic: 'Spring roasts' }, spring);
  if (random.chance(0.4 * warmth))
    touch(
      'email_clicked',
      later(opened, 0.001),
      { direction: 'inbound', channel: 'email', topic: 'Spring roasts' },
      spring,
    );
}

function campaign(
  externalId: string,
  name: string,
  channel: string,
  [startsOn, endsOn]: [string, string],
  cost: number,
  audience: string,
): z.input<(typeof campaignRecord)['input']> {
  return { name, channel, startsOn, endsOn, cost, audience, references: [{ source: 'crm', externalId }] };
}
