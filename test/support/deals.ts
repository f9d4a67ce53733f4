import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api';
import pg from 'pg';
import { customerOwner } from '../../src/features/customers/owner.ts';
import { quantityNumber } from '../../src/features/orders/record.ts';
import { applyAccess } from '../../src/platform/db/access.ts';
import { currency, instant, integer, money, otherCustomer, quantity, text } from '../../src/records/fields.ts';
import { lineSet } from '../../src/records/lines.ts';
import { operationsOf } from '../../src/records/operations.ts';
import { record } from '../../src/records/record.ts';
import { recordResolvers } from '../../src/records/resolvers.ts';
import { recordRoutes } from '../../src/records/routes.ts';
import { printSdl } from '../../src/records/sdl.ts';

/**
 * A record kind that the service does not have: what it takes to add one. Load this before the features, as the folder of
 * a feature would be.
 */
export const dealRecord = record('deal', {
  plural: 'deals',
  label: 'Deals',
  owner: customerOwner,
  naming: 'own',
  access: { scope: 'deals', partners: ['read', 'create'], selfService: ['read'] },
  fields: {
    closedAt: instant().required().range().sort().happened(),
    currency: currency().required().filter(),
    value: money().required(),
    stage: text(50).plain().defaultsTo('open').filter(),
    /** Personal, filtered and sorted by. */
    nickname: text(100).personal().filter().sort(),
    introducedBy: otherCustomer('introduced deal').filter(),
    dueAt: instant().sort(),
    weight: integer(0, 9).sort(),
  },
  lines: {
    items: {
      tableName: 'deal_items',
      name: 'dealItems',
      label: 'Lines of deals',
      set: lineSet('DealItem', {
        sku: text(100).plain().required(),
        quantity: quantity(quantityNumber).required(),
        total: money(),
      }),
      required: false,
    },
  },
  timeline: { members: ['stage', 'value', 'currency', 'nickname'] },
});

const dealOperations = operationsOf(dealRecord);

/** The service with deals. */
export async function contractWithDeals() {
  const features = await import('../../src/features.ts');
  const routes = [...features.routes, ...recordRoutes('/v1/deals', dealOperations)];
  const resolvers = [...features.resolvers, recordResolvers('deal', dealOperations)];
  return { routes, resolvers, sdl: printSdl(resolvers) };
}

/** The tables of deals, as a migration makes them, and who may touch them. */
export async function migrateDeals(connection: pg.ClientConfig): Promise<void> {
  const { tablePolicies } = await import('../../src/features.ts');
  const { customers } = await import('../../src/features/customers/record.ts');
  const before = generateDrizzleJson({ customers });
  const after = generateDrizzleJson(
    { customers, deals: dealRecord.table, items: dealRecord.lineTables.items },
    before.id,
  );
  const client = new pg.Client(connection);
  await client.connect();
  try {
    for (const statement of await generateMigration(before, after)) await client.query(statement);
    await applyAccess(client, tablePolicies());
  } finally {
    await client.end();
  }
}
