import { sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { date, money, text } from '../../records/fields.ts';
import { record } from '../../records/record.ts';

/** Marketing campaigns: what interactions and orders can name, so that their results can be counted and attributed. */
export const campaignRecord = record('campaign', {
  plural: 'campaigns',
  label: 'Campaigns',
  owner: null,
  naming: 'list',
  access: { scope: 'campaigns', partners: [], selfService: [] },
  listedBy: { createdAt: 'order' },
  fields: {
    name: text(200).plain().required().says('Display name.', 'Spring catalogue'),
    channel: text(100).plain().filter().says('Where it runs.', 'email'),
    startsOn: date().plain().range().says('First day.'),
    endsOn: date().plain().says('Last day, inclusive.'),
    cost: money().inBaseCurrency().answers(z.int()).says('Total cost, minor units of the base currency.', 250000),
    audience: text(2_000).plain().says('The target audience, in words.'),
  },
  extras: (t) => [
    index('campaigns_created').on(t.createdAt, t.id),
    // Those without a start come last, see the order of the list.
    index('campaigns_starts').on(sql`coalesce(starts_on, 'infinity'::date)`, t.id),
  ],
  says: {
    record: 'A marketing campaign that interactions and orders can refer to.',
    document: 'In PUT, omitted members are cleared.',
    example: { name: 'Spring catalogue', channel: 'email', startsOn: '2026-03-01', endsOn: '2026-03-31', cost: 250000 },
  },
});

export const campaigns = campaignRecord.table;
