import { type SQL, sql } from 'drizzle-orm';
import { rfmSegment } from '../../domain/rfm.ts';
import type { Db } from '../../platform/db/client.ts';
import {
  type ConditionField,
  type FieldType,
  type Moment,
  type OneRow,
  vocabulary,
} from '../../records/condition-fields.ts';
import { isSomebody } from '../../records/nobody.ts';
import { score } from './rfm-queries.ts';

/*
 * What customers and orders are grouped by: the fields that conditions may name, and what is worked out beside them. The empty key is
 * that of who, or what, has no value.
 */

/** The keys of customers. */
interface OfCustomers {
  of: 'customers';
  /** A select of `customer_id, key`, of every owner, nobody among them. */
  keys: (db: Db, moment: Moment) => Promise<SQL>;
  /** As of when: at the beginning of the period, as segments are; or at its end, for what never changes. */
  at: 'start' | 'end';
  /** What several keys have in common, which is the key that is answered. */
  named: (key: string) => string;
}

/** The keys of orders. */
interface OfOrders {
  of: 'orders';
  /** A select of the keys of a row of orders. */
  keys: (order: SQL) => SQL;
  /** The key of a row, where it has one and no more. */
  only: ((order: SQL) => SQL) | null;
  /** The same of returns that name no order, where they have it as well. */
  ofReturns: ((row: SQL) => SQL) | null;
}

export type Dimension = (OfCustomers | OfOrders) & {
  /** One customer can be in several groups. */
  several: boolean;
  /** It is known of any instant; otherwise only as it is now. */
  past: boolean;
  personal: boolean;
  scope: string;
};

/** Short names of fields. */
const shortNames: Readonly<Record<string, string>> = {
  channel: 'orders.channel',
  currency: 'orders.currency',
  campaign: 'orders.campaignId',
  sku: 'orders.items.sku',
  category: 'orders.items.category',
  country: 'address.country',
  tier: 'loyalty.tier',
  stage: 'lead.stage',
};

/** Types of values that are few, or words for something. */
const groupable: readonly FieldType[] = ['word', 'text', 'boolean', 'id', 'texts', 'attributes'];

/** What a name means; null: nothing to group by. */
export function dimensionNamed(name: string): Dimension | null {
  if (name === 'rfm') return byRfm();
  if (name === 'cohort') return byCohort();
  if (name === 'partner') return byPartner;
  const path = shortNames[name] ?? name;
  const { fields, related } = vocabulary();
  const orders = related.get('orders');
  if (!path.startsWith('orders.') || !orders) return dimensionOfCustomers(fieldNamed(fields, path));
  const rest = path.slice('orders.'.length);
  const items = orders.parts.get('items');
  if (!rest.startsWith('items.') || !items?.belongs) {
    const found = fieldNamed(orders.fields, rest);
    if (!found) return null;
    const keys = (row: SQL) => sql`select ${keyOf(found, row)} as key`;
    return {
      of: 'orders',
      keys,
      only: found.field.type === 'texts' ? null : (row) => keyOf(found, row),
      ofReturns: rest === 'currency' ? keys : null,
      several: true,
      past: true,
      personal: found.field.personal,
      scope: found.field.scope,
    };
  }
  const { belongs, table } = items;
  const found = fieldNamed(items.fields, rest.slice('items.'.length));
  if (!found) return null;
  const line = sql`line`;
  return {
    of: 'orders',
    // An order without lines has no value.
    keys: (order) =>
      sql`select ${keyOf(found, line)} as key from ${table} ${line} where ${belongs(line, order)}
        union select '' where not exists (select from ${table} ${line} where ${belongs(line, order)})`,
    only: null,
    ofReturns: null,
    several: true,
    past: true,
    personal: found.field.personal,
    scope: found.field.scope,
  };
}

interface Found {
  field: ConditionField;
  /** What stands behind the dot of an open field. */
  rest: string;
}

function fieldNamed(fields: ReadonlyMap<string, ConditionField>, path: string): Found | null {
  const whole = fields.get(path);
  const dot = path.indexOf('.');
  const field = whole && !whole.open ? whole : dot > 0 ? fields.get(path.slice(0, dot)) : undefined;
  const rest = field?.open ? path.slice(dot + 1) : '';
  if (!field || field.condition || !groupable.includes(field.type)) return null;
  if (field.open ? !field.open.safeParse(rest).success : field !== whole) return null;
  return { field, rest };
}

/** The keys of a row, in a select list: of a list of texts, each of them. */
function keyOf({ field, rest }: Found, row: SQL, moment = anyTime): SQL {
  const value = field.value(row, moment);
  if (field.type === 'texts') return sql`unnest(case when cardinality(${value}) > 0 then ${value} else array[''] end)`;
  return sql`coalesce(${field.type === 'attributes' ? sql`${value} ->> ${rest}::text` : sql`${value}::text`}, '')`;
}

/** Of values that do not depend on the time. */
const anyTime: Moment = { asOf: '', today: '', timeZone: '', past: false };

const customer = sql`customers`;
/** The owners of what nobody is known to have bought have no value, whatever their rows say. */
const orNone = (key: SQL) => sql`case when ${isSomebody(sql`customers.id`)} then ${key} else '' end`;

function dimensionOfCustomers(found: Found | null): Dimension | null {
  if (!found) return null;
  const { field } = found;
  const several = field.type === 'texts';
  return {
    of: 'customers',
    async keys(db, moment) {
      const { from } = field;
      if (!from) {
        const key = keyOf(found, customer, moment);
        return sql`select customers.id as customer_id, ${several ? key : orNone(key)} as key from customers`;
      }
      const one = sql`one`;
      return sql`select customers.id as customer_id, ${orNone(keyOf(found, one, moment))} as key
        from customers left join ${await rowsOf(from, db, moment)} ${one} on ${one}.customer_id = customers.id`;
    },
    at: 'start',
    named: (key) => key,
    several,
    past: field.past === true,
    personal: field.personal,
    scope: field.scope,
  };
}

async function rowsOf(from: OneRow, db: Db, moment: Moment): Promise<SQL> {
  return from.rows(moment, await from.prepare?.(db, moment));
}

/** A field of the vocabulary that is read from a row of its own. */
function workedOut(name: string): { field: ConditionField; from: OneRow } {
  const field = vocabulary().fields.get(name);
  if (!field?.from) throw new Error(`There is no field ${name} that is worked out`);
  return { field, from: field.from };
}

/** By the month of the first order ever, in the reporting zone. */
function byCohort(): Dimension {
  return {
    of: 'customers',
    async keys(db, moment) {
      const { field, from } = workedOut('firstOrderOn');
      const one = sql`one`;
      const month = sql`coalesce(date_trunc('month', ${field.value(one, moment)})::date::text, '')`;
      return sql`select customers.id as customer_id, ${orNone(month)} as key
        from customers left join ${await rowsOf(from, db, moment)} ${one} on ${one}.customer_id = customers.id`;
    },
    at: 'end',
    named: (key) => key,
    several: false,
    past: true,
    personal: false,
    scope: 'orders:read',
  };
}

/** By the segments of the metric rfm, among all customers. */
function byRfm(): Dimension {
  return {
    of: 'customers',
    async keys(db, moment) {
      const { field: lastDay, from: purchases } = workedOut('lastOrderOn');
      const { field: orderCount } = workedOut('orderCount');
      const { from: statistics } = workedOut('lifetimeValue');
      const bought = sql`bought`;
      return sql`select customers.id as customer_id, coalesce(scored.key, '') as key from customers left join (
          select customer_id, ${score(sql`day`)}::text || ${score(sql`orders`)}::text || ${score(sql`net`)}::text as key from (
            select ${bought}.customer_id, ${lastDay.value(bought, moment)} as day, ${orderCount.value(bought, moment)} as orders, coalesce(sums.net, 0) as net
            from ${await rowsOf(purchases, db, moment)} ${bought} left join ${await rowsOf(statistics, db, moment)} sums using (customer_id)
            where ${isSomebody(sql`${bought}.customer_id`)}) buyers
        ) scored on scored.customer_id = customers.id`;
    },
    at: 'start',
    named(key) {
      if (key === '') return key;
      const [recency = 0, frequency = 0, monetary = 0] = [...key].map(Number);
      return rfmSegment({ recency, frequency, monetary });
    },
    several: false,
    past: true,
    personal: false,
    scope: 'orders:read',
  };
}

const byPartner: Dimension = {
  of: 'customers',
  keys: async () =>
    sql`select customers.id as customer_id, coalesce(shared.partner_id::text, '') as key
      from customers left join partner_customers shared on shared.customer_id = customers.id`,
  at: 'start',
  named: (key) => key,
  several: true,
  past: false,
  personal: false,
  scope: 'partners:read',
};
