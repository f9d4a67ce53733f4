import type pg from 'pg';
import { gradeOf, pointsOf, scoresOfGrade, unitsOf } from '../../src/domain/lead-score.ts';
import { newId } from '../../src/platform/ids.ts';
import type { interactionDocument, orderDocument } from './store.ts';

/** Hand-written, one statement per answer, each under its name. Instants and numbers are decoded as the pool does it. */
const referencesOf = (record: string) =>
  `(select json_agg(json_build_object('source', r.source, 'externalId', r.external_id, 'sourceVersion', null) order by r.position)
    from external_refs r where r.record_id = ${record}) as "references"`;

const customer = {
  name: 'floor_customer',
  text: `select id, kind, name, given_name, family_name, company_id, birthday, address, locale, preferred_channel, acquisition_source,
      acquisition_cost, acquired_on, referred_by, acquired_by, erased_at, attributes, tags, version, created_at, updated_at, ${referencesOf('c.id')},
      (select json_agg(json_build_object('kind', i.kind, 'value', i.value, 'primary', i.is_primary) order by i.kind, i.is_primary desc, i.created_at)
        from customer_identities i where i.customer_id = c.id) as identities
    from customers c where id = $1`,
};

const balance = { name: 'floor_balance', text: 'select * from loyalty_accounts where customer_id = $1' };

/** As stored: nothing is computed that changes by itself. */
export async function balanceById(pool: pg.Pool, id: string, asOf: string) {
  const { rows } = await pool.query({ ...balance, values: [id] });
  const row = rows[0];
  return {
    customerId: row.customer_id,
    programmeId: row.programme_id,
    asOf,
    joinedAt: row.joined_at,
    tier: row.tier,
    tierSince: row.tier_since,
    tierEndsAt: row.tier_ends_at,
    tierInGrace: row.tier_in_grace,
    active: row.active,
    pending: row.pending,
    debt: row.debt,
    details: null,
    version: row.version,
  };
}

export async function customerById(pool: pg.Pool, id: string) {
  const { rows } = await pool.query({ ...customer, values: [id] });
  const row = rows[0];
  const identities: { kind: string; value: string; primary: boolean }[] = row.identities ?? [];
  const primary = (kind: string) => identities.find((one) => one.kind === kind && one.primary)?.value ?? null;
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    givenName: row.given_name,
    familyName: row.family_name,
    companyId: row.company_id,
    email: primary('email'),
    phone: primary('phone'),
    identities,
    references: row.references ?? [],
    birthday: row.birthday,
    address: row.address,
    locale: row.locale,
    preferredChannel: row.preferred_channel,
    acquisition:
      row.acquisition_source === null
        ? null
        : { source: row.acquisition_source, cost: row.acquisition_cost, acquiredOn: row.acquired_on },
    referredBy: row.referred_by,
    acquiredBy: row.acquired_by,
    attributes: row.attributes,
    tags: row.tags,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    erasedAt: row.erased_at,
  };
}

const page = {
  name: 'floor_orders',
  text: `select o.*, ${referencesOf('o.id')},
      (select json_agg(json_build_object('sku', i.sku, 'name', i.name, 'category', i.category, 'quantity', i.quantity, 'total', i.total,
          'unitPrice', i.unit_price, 'cost', i.cost, 'tax', i.tax, 'externalId', i.external_id) order by i.line)
        from order_items i where i.customer_id = o.customer_id and i.order_id = o.id) as items
    from orders o where placed_at < $1 order by placed_at desc, id desc limit $2`,
};

export async function orderPage(pool: pg.Pool, placedTo: string, limit: number) {
  const { rows } = await pool.query({ ...page, values: [placedTo, limit] });
  return rows.map(asOrder);
}

// biome-ignore lint/suspicious/noExplicitAny: a row as the driver gives it; the bench compares the answer made of it
function asOrder(row: any) {
  return {
    id: row.id,
    customerId: row.customer_id,
    source: row.source,
    externalId: row.external_id,
    references: row.references ?? [],
    placedAt: row.placed_at,
    currency: row.currency,
    total: row.total,
    items: row.items ?? [],
    discount: row.discount,
    shipping: row.shipping,
    fees: row.fees,
    tax: row.tax,
    taxIncluded: row.tax_included,
    rounding: row.rounding,
    paymentStatus: row.payment_status,
    fulfillmentStatus: row.fulfillment_status,
    paidAt: row.paid_at,
    fulfilledAt: row.fulfilled_at,
    cancelledAt: row.cancelled_at,
    channel: row.channel,
    discountCodes: row.discount_codes,
    note: row.note,
    shippingAddress: row.shipping_address,
    billingAddress: row.billing_address,
    campaignId: row.campaign_id,
    test: row.test,
    exchangeRate: row.exchange_rate,
    status: row.status,
    refunded: row.refunded,
    revenue: row.revenue,
    baseRevenue: row.base_revenue,
    attributes: row.attributes,
    tags: row.tags,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** Kind → the columns of its object, its table and its instant. */
const entryKinds: [kind: string, glance: string, table: string, at: string][] = [
  [
    'interaction',
    'kind, direction, automatic, channel, topic, outcome, staff, seconds, campaign_id as "campaignId", order_id as "orderId", text',
    'interactions',
    'occurred_at',
  ],
  [
    'order',
    'status, currency, total, source, external_id as "externalId", channel, campaign_id as "campaignId"',
    'orders',
    'placed_at',
  ],
  [
    'refund',
    'order_id as "orderId", amount, (select o.currency from orders o where o.customer_id = t.customer_id and o.id = t.order_id) as currency, reason',
    'refunds',
    'refunded_at',
  ],
  ['return', 'total, currency, reason', 'returns', 'returned_at'],
  [
    'stage_change',
    'from_stage as "from", to_stage as "to", by, rule, loss_reason as "lossReason"',
    'lead_stage_changes',
    'at',
  ],
  [
    'loyalty_transaction',
    'kind, points, order_id as "orderId", redemption_id as "redemptionId", bonus_key as "bonusKey", reason',
    'loyalty_transactions',
    'at',
  ],
  [
    'survey_response',
    `survey_id as "surveyId", (select s.name from surveys s where s.id = t.survey_id) as "surveyName", status,
      (select coalesce(json_agg(json_build_object('question', a.question, 'type', a.type, 'score', a.score) order by a.question), '[]')
        from survey_answers a where a.response_id = t.id and a.score is not null) as scores,
      channel, order_id as "orderId", interaction_id as "interactionId"`,
    'survey_responses',
    'answered_at',
  ],
];
const timeline = {
  name: 'floor_timeline',
  text: `select * from (${entryKinds
    .map(
      ([kind, glance, table, at]) =>
        `(select id, '${kind}' as kind, ${at} as at, (select row_to_json(g) from (select ${glance}) g) as glance
          from ${table} t where customer_id = $1 and ${at} < $2 order by ${at} desc, id desc limit 101)`,
    )
    .join(' union all ')}) e order by at desc, id desc limit $3`,
};

export async function timelinePage(pool: pg.Pool, customerId: string, to: string, limit: number) {
  const { rows } = await pool.query({ ...timeline, values: [customerId, to, limit] });
  return rows.map(({ id, kind, at, glance }) => ({
    id,
    kind,
    at,
    interaction: kind === 'interaction' ? glance : null,
    order: kind === 'order' ? glance : null,
    refund: kind === 'refund' ? glance : null,
    return: kind === 'return' ? glance : null,
    stageChange: kind === 'stage_change' ? glance : null,
    loyaltyTransaction: kind === 'loyalty_transaction' ? glance : null,
    surveyResponse: kind === 'survey_response' ? glance : null,
  }));
}

const inserted = {
  name: 'floor_insert_order',
  text: `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax,
      tax_included, rounding, payment_status, fulfillment_status, channel, test, exchange_rate, base_factor, refunds, refunded, created_at, updated_at)
    values ($1, $2, 1, $3, $4, $5, $6, $7, 0, 0, 0, 0, false, 0, $8, $9, $10, false, 1, 1, 0, 0, $11, $11) returning *`,
};
const insertedItems = {
  name: 'floor_insert_items',
  text: `insert into order_items (customer_id, order_id, line, sku, name, category, quantity, total, unit_price)
    select $1, $2, i.line, i.sku, i.name, i.category, i.quantity, i.total, i."unitPrice"
    from json_to_recordset($3) as i(line smallint, sku text, name text, category text, quantity numeric, total bigint, "unitPrice" text)`,
};

type Document = ReturnType<typeof orderDocument>;
interface FloorOrder {
  values: unknown[];
  itemValues: unknown[];
  document: Document;
}

export function floorOrder(document: Document, customerId: string): FloorOrder {
  const id = newId();
  const { source, externalId, placedAt, currency, total, paymentStatus, fulfillmentStatus, channel, items } = document;
  const head = [customerId, id, source, externalId, placedAt, currency, total];
  return {
    values: [...head, paymentStatus, fulfillmentStatus, channel, new Date().toISOString()],
    itemValues: [customerId, id, JSON.stringify(items.map((item, line) => ({ line, ...item })))],
    document,
  };
}

/** One transaction in one write: the customer's lock, the key, the references and the statistics are what the service adds. */
export async function insertOrder(client: pg.PoolClient, { values, itemValues, document }: FloorOrder) {
  const [, { rows }] = await Promise.all([
    client.query('BEGIN'),
    client.query({ ...inserted, values }),
    client.query({ ...insertedItems, values: itemValues }),
    client.query('COMMIT'),
  ]);
  const items = document.items.map((item) => ({ ...item, cost: null, tax: null, externalId: null }));
  const references = [{ source: document.source, externalId: document.externalId, sourceVersion: null }];
  return { ...asOrder({ ...rows[0], items, references }), created: true, applied: true, warnings: [] };
}

const insertedInteraction = {
  name: 'floor_insert_interaction',
  text: `insert into interactions (customer_id, id, version, source, external_id, kind, direction, channel, occurred_at, topic, outcome, staff,
      seconds, pages, text, created_at, updated_at)
    values ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15) returning *`,
};

/** As for an order. */
export async function insertInteraction(
  client: pg.PoolClient,
  document: ReturnType<typeof interactionDocument>,
  customerId: string,
) {
  const { source, externalId, kind, direction, channel, occurredAt, topic, outcome, staff, seconds, pages } = document;
  const [, { rows }] = await Promise.all([
    client.query('BEGIN'),
    client.query({
      ...insertedInteraction,
      values: [
        ...[customerId, newId(), source, externalId, kind, direction, channel, occurredAt, topic, outcome, staff],
        ...[seconds, pages, document.text, new Date().toISOString()],
      ],
    }),
    client.query('COMMIT'),
  ]);
  const row = rows[0];
  return {
    id: row.id,
    customerId,
    source,
    externalId,
    references: [{ source, externalId, sourceVersion: null }],
    kind: row.kind,
    direction: row.direction,
    automatic: row.automatic,
    channel: row.channel,
    occurredAt: row.occurred_at,
    topic: row.topic,
    outcome: row.outcome,
    staff: row.staff,
    seconds: row.seconds,
    pages: row.pages,
    cost: row.cost,
    campaignId: row.campaign_id,
    orderId: row.order_id,
    ticket: row.ticket,
    text: row.text,
    attributes: row.attributes,
    tags: row.tags,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    created: true,
    applied: true,
    warnings: [],
  };
}

/** The rule set whose bounds stand in for scores. */
export async function newestRules(pool: pg.Pool) {
  const { rows } = await pool.query(
    'select id, document from lead_rule_sets where number is not null order by number desc limit 1',
  );
  return rows[0];
}

/**
 * What a list by score costs when the score is a column that an index orders: it never fades and nobody explains it.
 * Bounds are such a column.
 */
export async function leadPage(
  pool: pg.Pool,
  rules: Awaited<ReturnType<typeof newestRules>>,
  query: URLSearchParams,
  { after, limit }: { after: [string | number, string] | null; limit: number },
) {
  const grade = query.get('grade');
  const { grades } = rules.document;
  const range = grade === null ? null : scoresOfGrade(grades, grade as 'A'); // one of the grades
  const values: unknown[] = [rules.id, query.get('stage')?.split(','), limit];
  const also = (condition: (place: string) => string, value: unknown) => {
    if (value === null || value === undefined) return '';
    values.push(value);
    return `and ${condition(`$${values.length}`)} `;
  };
  const conditions = [
    also((place) => `l.owner = ${place}`, query.get('owner')),
    also((place) => `b.bound >= ${place}`, range?.from && unitsOf(range.from)),
    also((place) => `b.bound < ${place}`, range?.to && unitsOf(range.to)),
    also(
      (place) => `(b.bound, b.customer_id) < ((${place}::json ->> 0)::bigint, (${place}::json ->> 1)::uuid)`,
      after && JSON.stringify(after),
    ),
  ].join('');
  const { rows } = await pool.query({
    name: `floor_leads ${[query.has('owner'), range?.from, range?.to, after !== null]}`,
    text: `select l.*, b.bound from lead_score_bounds b join leads l on l.customer_id = b.customer_id
      where b.rule_set_id = $1 and l.stage = any($2) ${conditions} order by b.bound desc, b.customer_id desc limit $3`,
    values,
  });
  return rows.map((row) => ({
    id: row.customer_id,
    stage: row.stage,
    stageSince: row.stage_since,
    lossReason: row.loss_reason,
    owner: row.owner,
    source: row.source,
    segment: row.segment,
    enteredAt: row.entered_at,
    convertedAt: row.converted_at,
    conversionOrderId: row.conversion_order_id,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    score: pointsOf(row.bound),
    grade: gradeOf(grades, pointsOf(row.bound)),
  }));
}

const utc = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
/** Owners of orders of nobody known have ids from ffffffff on, and are in no index of customers. */
const nested = {
  name: 'floor_graphql',
  // row_to_json and array_to_json write no white space, as JSON.stringify does; json_build_object and json_agg do.
  text: `select array_to_json(array(
      select row_to_json(node) from (
        select c.id, c.name,
          (select i.value from customer_identities i where i.customer_id = c.id and i.kind = 'email' and i.is_primary) as email,
          ${utc('c.created_at')} as "createdAt",
          (select row_to_json(list) from (select array(
            select row_to_json(o) from (
              select o.id, ${utc('o.placed_at')} as "placedAt", o.currency, o.total, upper(o.status) as status
              from orders o where o.customer_id = c.id order by o.placed_at desc, o.id desc limit 5) o) as nodes) list) as orders
        from customers c where c.created_at < $1 and c.id < 'ffffffff-0000-0000-0000-000000000000' order by c.created_at desc, c.id desc limit 20) node))::text as nodes`,
};

/** The query the GraphQL measure sends to both. */
export const graphqlQuery = `query ($before: DateTime) {
  customers(first: 20, createdTo: $before) {
    nodes { id name email createdAt orders(first: 5) { nodes { id placedAt currency total status } } }
  }
}`;

/** Its data as Postgres builds them, in one statement. */
export async function customersWithOrders(pool: pg.Pool, before: string): Promise<string> {
  const { rows } = await pool.query({ ...nested, values: [before] });
  return `{"customers":{"nodes":${rows[0].nodes}}}`;
}

const byId = {
  name: 'floor_graphql_by_id',
  text: `select row_to_json(c)::text as customer from (
      select id, upper(kind) as kind, name, given_name as "givenName", family_name as "familyName", ${utc('created_at')} as "createdAt", ${utc('updated_at')} as "updatedAt"
      from customers where id = $1) c`,
};

export const graphqlQueryById =
  'query ($id: ID!) { customer(id: $id) { id kind name givenName familyName createdAt updatedAt } }';

export async function namedCustomer(pool: pg.Pool, id: string): Promise<string> {
  const { rows } = await pool.query({ ...byId, values: [id] });
  return `{"customer":${rows[0].customer}}`;
}
