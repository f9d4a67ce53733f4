/** Whatever an answer has. */
export type Json = Record<string, any>;

/** Conditions on customers as a person would check them by hand, over what the lists of the service answer. */

export interface House {
  /** The present and its day, in UTC. */
  now: string;
  customers: readonly Json[];
  /** By customer: the records that the lists answer. */
  records: Readonly<Record<string, ReadonlyMap<string, readonly Json[]>>>;
}

const dayLength = 86_400_000;
const dayOf = (instant: string) => instant.slice(0, 10);
const daysBetween = (a: string, b: string) => Math.round((Date.parse(b) - Date.parse(a)) / dayLength);

/** Those for whom the tree holds. */
export function matching(house: House, tree: Json): string[] {
  return house.customers.filter((customer) => holds(house, customer, customer.id, tree)).map(({ id }) => id);
}

function holds(house: House, record: Json, owner: string, tree: Json): boolean {
  if (tree.and) return tree.and.every((one: Json) => holds(house, record, owner, one));
  if (tree.or) return tree.or.some((one: Json) => holds(house, record, owner, one));
  if (tree.not) return !holds(house, record, owner, tree.not);
  if (tree.has) return hasRecords(house, record, owner, tree);
  return compares(house, fieldOf(house, record, owner, tree.field), tree);
}

function hasRecords(house: House, record: Json, owner: string, { has, where, count, sum, nth }: Json): boolean {
  const isCustomer = record.id === owner;
  const all: Json[] = isCustomer
    ? [...(house.records[has]?.get(owner) ?? [])]
    : has === 'refunds'
      ? (house.records['refunds']?.get(owner) ?? []).filter((one) => one.orderId === record.id)
      : record[has];
  const those = all.filter((one) => !where || holds(house, one, owner, where));
  const within = (n: number, { atLeast = -Infinity, atMost = Infinity }: Json) => n >= atLeast && n <= atMost;
  if (count) return within(those.length, count);
  if (sum) {
    const total = those.reduce((one, other) => one + (other[sum.field] ?? 0), 0);
    return within(total, sum);
  }
  if (nth) {
    const at = (one: Json) => one.placedAt ?? one.occurredAt ?? one.returnedAt ?? one.at;
    const key = (one: Json) => `${at(one).replace('Z', '').padEnd(26, '0')} ${one.id}`;
    const sorted = [...those].sort((a, b) => (key(a) < key(b) ? -1 : 1));
    const found = sorted.at(nth.n > 0 ? nth.n - 1 : nth.n);
    return found !== undefined && (!nth.where || holds(house, found, owner, nth.where));
  }
  return those.length > 0;
}

/** Exact decimals are answered as text, and asked for as numbers. */
const decimals = new Set(['exchangeRate', 'unitPrice']);

/** The value of a field; undefined: there is none. */
function fieldOf(house: House, record: Json, owner: string, field: string): unknown {
  if (record.id === owner && field in worked) return worked[field]?.(house, record) ?? undefined;
  const value = field.split('.').reduce<any>((at, step) => at?.[step], record);
  if (decimals.has(field) && typeof value === 'string') return Number(value);
  return value ?? undefined;
}

function qualifying({ records }: House, { id }: Json): Json[] {
  const orders = records['orders']?.get(id) ?? [];
  return orders
    .filter(({ cancelledAt, test, refunded, total }) => !cancelledAt && !test && !(refunded > 0 && refunded >= total))
    .sort((a, b) => (a.placedAt < b.placedAt ? -1 : 1));
}

const days = (house: House, customer: Json) => [
  ...new Set(qualifying(house, customer).map(({ placedAt }) => dayOf(placedAt))),
];
const valued = (house: House, customer: Json) =>
  qualifying(house, customer).filter(({ baseRevenue }) => baseRevenue !== null);
const revenue = (house: House, customer: Json): number =>
  valued(house, customer).reduce((sum, { baseRevenue }) => sum + baseRevenue, 0);

function meanGap(house: House, customer: Json): number | undefined {
  const all = days(house, customer);
  const [first] = all;
  const last = all.at(-1);
  return first && last && all.length > 1 ? daysBetween(first, last) / (all.length - 1) : undefined;
}

function silence(house: House, customer: Json): number | undefined {
  const last = days(house, customer).at(-1);
  return last === undefined ? undefined : daysBetween(last, dayOf(house.now));
}

/** Days until a day of the year comes round; by trying them one by one. */
function daysUntil(date: string, today: string): number {
  for (let distance = date === today ? 1 : 0; ; distance += 1) {
    const then = new Date(Date.parse(today) + distance * dayLength).toISOString().slice(0, 10);
    const isLeap = new Date(Date.UTC(Number(then.slice(0, 4)), 1, 29)).getUTCMonth() === 1;
    const day = date.slice(-5) === '02-29' && !isLeap ? '02-28' : date.slice(-5);
    if (then.slice(-5) === day) return distance;
  }
}

export const worked: Record<string, (house: House, customer: Json) => unknown> = {
  orderCount: (house, customer) => qualifying(house, customer).length,
  purchaseDays: (house, customer) => days(house, customer).length,
  revenue,
  averageOrderValue: (house, customer) =>
    valued(house, customer).length > 0 ? revenue(house, customer) / valued(house, customer).length : undefined,
  firstOrderOn: (house, customer) => days(house, customer)[0],
  lastOrderOn: (house, customer) => days(house, customer).at(-1),
  daysSinceFirstOrder(house, customer) {
    const [first] = days(house, customer);
    return first && daysBetween(first, dayOf(house.now));
  },
  daysSinceLastOrder: silence,
  meanGapDays: meanGap,
  silenceRatio(house, customer) {
    const gap = meanGap(house, customer);
    const silent = silence(house, customer);
    return gap === undefined || silent === undefined ? undefined : silent / gap;
  },
  daysToPurchaseAnniversary(house, customer) {
    const [first] = days(house, customer);
    return first && daysUntil(first, dayOf(house.now));
  },
  lifetimeValue(house, customer) {
    if (qualifying(house, customer).length === 0) return undefined;
    const returned = (house.records['returns']?.get(customer.id) ?? []).reduce(
      (sum, one) => sum + (one.baseNet ?? 0),
      0,
    );
    return revenue(house, customer) - returned;
  },
  daysToBirthday: ({ now }, { birthday }) => (birthday ? daysUntil(birthday, dayOf(now)) : undefined),
  acquisitionSource: (_house, { acquisition }) => acquisition?.source,
  ...leadFields(),
};

function leadFields(): typeof worked {
  const names =
    'version stage stageSince lossReason owner source segment enteredAt convertedAt conversionOrderId tags createdAt updatedAt';
  return Object.fromEntries(
    names
      .split(' ')
      .map((name) => [
        `lead.${name}`,
        ({ records }: House, { id }: Json) => records['leads']?.get(id)?.[0]?.[name] ?? undefined,
      ]),
  );
}

const yearless = /^--/;

function compares({ now }: House, value: unknown, { op, value: given }: Json): boolean {
  if (op === 'exists') return (value !== undefined) === given;
  if (value === undefined) return false;
  if (Array.isArray(value)) return op === 'contains' ? value.includes(given) : value.some((one) => given.includes(one));
  const wanted = (one: unknown) => (isRelative(one) ? shifted(now, one, value) : one);
  if (op === 'in') return given.some((one: unknown) => same(value, one));
  if (op === 'eq') return same(value, wanted(given));
  if (op === 'starts_with') return String(value).toLowerCase().startsWith(given.toLowerCase());
  if (op === 'contains') return String(value).toLowerCase().includes(given.toLowerCase());
  const other = wanted(given);
  if (typeof value === 'string' && yearless.test(value)) return false;
  if (typeof value !== typeof other) return false;
  const difference = typeof value === 'number' ? value - Number(other) : inOrder(String(value), String(other));
  if (op === 'lt') return difference < 0;
  if (op === 'lte') return difference <= 0;
  return op === 'gt' ? difference > 0 : difference >= 0;
}

function same(value: unknown, other: unknown): boolean {
  if (typeof value === 'string' && typeof other === 'string' && /^\d{4}-\d\d-\d\dT/.test(value)) {
    return inOrder(value, other) === 0;
  }
  return value === other;
}

/** Instants are compared with their microseconds. */
function inOrder(a: string, b: string): number {
  const key = (text: string) => (text.includes('T') ? text.replace('Z', '').padEnd(26, '0') : text);
  return key(a) < key(b) ? -1 : Number(key(a) > key(b));
}

function isRelative(value: unknown): value is { daysAgo?: number; daysAhead?: number } {
  return typeof value === 'object' && value !== null;
}

function shifted(now: string, { daysAgo = 0, daysAhead = 0 }: { daysAgo?: number; daysAhead?: number }, like: unknown) {
  const instant = new Date(Date.parse(now) + (daysAhead - daysAgo) * dayLength).toISOString();
  return String(like).includes('T') ? instant : dayOf(instant);
}
