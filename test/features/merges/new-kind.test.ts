import { uniqueIndex } from 'drizzle-orm/pg-core';
import pg from 'pg';
import t from 'tap';
import { z } from 'zod';
import { customerOwner } from '../../../src/features/customers/owner.ts';
import { newId } from '../../../src/platform/ids.ts';
import { code, instant, ownerId, recordId, text, words } from '../../../src/records/fields.ts';
import { lineSet } from '../../../src/records/lines.ts';
import { record } from '../../../src/records/record.ts';
import { storedTable } from '../../../src/records/table.ts';
import { testApp } from '../../support/app.ts';
import { dumpOf } from '../../support/inventory.ts';
import { newKey } from '../../support/shop.ts';

/* A kind that nobody has told merges about: its records, what is part of them and their references move and go back. */

const deals = record('deal', {
  plural: 'deals',
  label: 'Deals',
  owner: customerOwner,
  naming: 'own',
  access: { scope: 'deals', partners: [], selfService: [] },
  fields: {
    title: text(100).personal(),
    closedAt: instant().required().happened(),
    // One deal per customer may be the main one.
    place: words(z.enum(['main'])),
  },
  lines: {
    items: {
      tableName: 'deal_items',
      name: 'dealItems',
      label: 'Items of deals',
      required: false,
      set: lineSet('DealItem', { sku: code(50).plain().required() }),
    },
  },
  extras: (t) => [uniqueIndex('deals_place').on(t.customerId, t.place)],
});
// Part of a part of a record.
record('dealVisit', {
  plural: 'dealVisits',
  label: 'Visits of deals',
  owner: customerOwner.ofParts(),
  naming: 'own',
  access: { scope: 'deals', partners: [], selfService: [] },
  fields: { dealId: recordId().required() },
  partOf: { table: deals.table, by: 'dealId' },
  lines: {
    notes: {
      tableName: 'deal_visit_notes',
      name: 'dealVisitNotes',
      label: 'Notes of visits',
      required: false,
      set: lineSet('DealVisitNote', { note: text(50).personal() }),
    },
  },
});

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const columns = `customer_id uuid not null, id uuid not null, version int not null default 1, source text not null,
  external_id text not null, created_at timestamptz not null default now(), updated_at timestamptz not null default now()`;
await database.query(`
  create table deals (${columns}, title text, closed_at timestamptz not null, place text, primary key (customer_id, id));
  create unique index deals_place on deals (customer_id, place);
  create table deal_items (customer_id uuid not null, deal_id uuid not null, line smallint not null, sku text not null,
    primary key (customer_id, deal_id, line), foreign key (customer_id, deal_id) references deals on delete cascade);
  create table deal_visits (${columns}, deal_id uuid not null, primary key (customer_id, id),
    foreign key (customer_id, deal_id) references deals on delete cascade);
  create table deal_visit_notes (customer_id uuid not null, deal_visit_id uuid not null, line smallint not null, note text,
    primary key (customer_id, deal_visit_id, line), foreign key (customer_id, deal_visit_id) references deal_visits on delete cascade);
  grant all on deals, deal_items, deal_visits, deal_visit_notes to rapport_service`);

async function make(path: string, body: unknown): Promise<any> {
  const answer = await api.request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function reference(kind: string, customer: string, id: string): Promise<void> {
  await database.query(
    `insert into external_refs (kind, source, external_id, record_id, customer_id, position, created_at)
     values ($1, 'crm', $2::uuid::text, $2::uuid, $3, 0, now())`,
    [kind, id, customer],
  );
}

async function stock(customer: string, place: string | null): Promise<string> {
  const [deal, visit] = [newId(), newId()];
  await database.query(
    `insert into deals (customer_id, id, source, external_id, title, closed_at, place) values ($1, $2::uuid, 'crm', $2::uuid::text, 'A deal', '2026-05-01', $3)`,
    [customer, deal, place],
  );
  await database.query(`insert into deal_items values ($1, $2, 0, 'A'), ($1, $2, 1, 'B')`, [customer, deal]);
  await database.query(
    `insert into deal_visits (customer_id, id, source, external_id, deal_id) values ($1, $2::uuid, 'crm', $2::uuid::text, $3)`,
    [customer, visit, deal],
  );
  await database.query(`insert into deal_visit_notes values ($1, $2, 0, 'rang the bell')`, [customer, visit]);
  await reference('deal', customer, deal);
  await reference('dealVisit', customer, visit);
  return deal;
}

const person = async (): Promise<string> => (await make('/v1/customers', { name: 'Ada' })).id;
const total = ['deals', 'dealItems', 'dealVisits', 'dealVisitNotes'];

t.test('its records merge and unmerge, with all that belongs to them', async (t) => {
  const [a, b] = [await person(), await person()];
  await stock(a, 'main');
  await stock(b, 'main');
  await stock(b, null);
  const before = await dumpOf(database, [a, b]);
  const preview = await make(`/v1/customers/${a}/merge/preview`, { customerId: b });
  t.strictSame(preview.moves, [{ kind: 'deals', count: 2 }]);
  const merged = await make(`/v1/customers/${a}/merge`, { customerId: b });
  t.strictSame(merged.moves, preview.moves);
  const one = await dumpOf(database, [a]);
  for (const name of total) t.equal(one[name]?.length, before[name]?.length, name);
  t.equal(one['references']?.length, 6);
  t.equal(one['deals']?.filter(({ place }) => place === 'main').length, 1, 'a customer has one main deal');
  const parted = await make(`/v1/customers/${a}/unmerge`, { mergeId: merged.id });
  t.strictSame(parted.moves, preview.moves);
  t.strictSame(parted.kept, []);
  t.strictSame(await dumpOf(database, [a, b]), before);
});

t.test('what is recorded since stays with the survivor', async (t) => {
  const [a, b] = [await person(), await person()];
  await stock(b, null);
  const merged = await make(`/v1/customers/${a}/merge`, { customerId: b });
  await database.query(
    `insert into deals (customer_id, id, source, external_id, closed_at) values ($1, 'ffffffff-0000-7000-8000-000000000000', 'crm', 'later', now())`,
    [a],
  );
  const parted = await make(`/v1/customers/${a}/unmerge`, { mergeId: merged.id });
  t.match(parted.kept, [{ kind: 'deals', count: 1 }]);
});

t.test('a table of which nobody has said how it is merged is refused', async (t) => {
  const fields = { customerId: ownerId(), at: instant().required() };
  const definition = { label: 'x', access: 'owner', owner: 'customerId', guard: null, fields } as const;
  const notes = { ...definition, name: 'wishes', nature: 'profile', key: ['customerId'] } as const;
  t.throws(() => storedTable('wishes', notes), { message: /^wishes: say what becomes of its rows/ });
  const daily = { ...definition, name: 'wishes', nature: 'fact', key: ['customerId', 'at'] } as const;
  t.throws(() => storedTable('wishes', daily), { message: /^wishes: say what becomes of its rows/ });
});
