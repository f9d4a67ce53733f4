import { isIP } from 'node:net';
import { z } from 'zod';
import { type Act, markOf, membersOf, type Place, type Schema, walker } from '../records/walk.ts';
import type { AuditContext, Transaction } from './db/client.ts';
import { newId } from './ids.ts';
import { isPersonal } from './personal.ts';
import type { Principal } from './principal.ts';

/** One change or one answer with personal data. Ids and names only: what was never in it has not to be erased from it. */
export interface AuditEntry {
  id: string;
  at: string;
  requestId: string;
  client: string;
  confinement: 'partner' | 'customer' | null;
  confinementId: string | null;
  address: string | null;
  door: Door;
  operation: string;
  kind: 'read' | 'write';
  /** What the operation's scope is about: the part before the colon. */
  resource: string;
  /** Records other than customers. */
  recordIds: string[];
  customerIds: string[];
  /** Top-level members of the body of a write. */
  members: string[];
  outcome: 'done' | 'partial';
}

/** Keeps entries. The platform says what happened; where it is kept is a feature's. */
export interface Audit {
  /** Adds the entry to the transaction of the change: there are both or neither. */
  changed(tx: Transaction, entry: AuditEntry): void;
  /** Before personal data is read. @throws Problem unavailable, while what was read before cannot be written down */
  admit(): void;
  /** After it was read: returns at once, the entry is written soon. */
  seen(entry: AuditEntry): void;
}

/** Keeps nothing: for who calls operations outside of the service (a benchmark). */
export const noAudit: Audit = { changed: () => undefined, admit: () => undefined, seen: () => undefined };

export type Door = 'rest' | 'graphql' | 'job';

/** Where a call comes from. */
export interface Origin {
  readonly door: Door;
  /** null where it is not to be kept. */
  readonly address: string | null;
}

export const background: Origin = { door: 'job', address: null };

/** The address of a caller, who may be a customer: theirs is personal data, which could never be erased from the audit. */
export function originOf(
  door: Door,
  ip: string,
  { anybody, principal }: { anybody: boolean; principal: Principal },
): Origin {
  const customer = anybody || principal.scopedTo?.kind === 'customer';
  // What a proxy says may be anything.
  return {
    door,
    address: customer || isIP(ip) === 0 ? null : ip.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, ''),
  };
}

interface Caller {
  principal: Principal;
  requestId: string;
  now: string;
  origin: Origin;
}

/** What is asked of an operation. */
interface Audited {
  name: string;
  scope: string;
  input: z.ZodObject<z.ZodRawShape>;
  output: z.ZodType;
  changed?: ((output: never) => boolean) | undefined;
}

/** An entry of what `caller` does. */
export function auditEntry(
  { principal, requestId, now, origin }: Caller,
  { name, scope }: Pick<Audited, 'name' | 'scope'>,
  what: Pick<AuditEntry, 'kind'> & Partial<Pick<AuditEntry, 'recordIds' | 'customerIds' | 'members' | 'outcome'>>,
): AuditEntry {
  return {
    id: newId(),
    at: now,
    requestId,
    client: principal.client,
    confinement: principal.scopedTo?.kind ?? null,
    confinementId: principal.scopedTo?.id ?? null,
    address: origin.address,
    door: origin.door,
    operation: name,
    kind: what.kind,
    resource: scope.split(':', 1)[0] ?? scope,
    recordIds: what.recordIds ?? [],
    customerIds: what.customerIds ?? [],
    members: what.members ?? [],
    outcome: what.outcome ?? 'done',
  };
}

/** What an answer with personal data has shown; null when there was none in it. */
export function readEntry(caller: Caller, operation: Audited, output: unknown): AuditEntry | null {
  const seen: Seen = { customerIds: new Set(), personal: false };
  witness(operation.output)?.(output, seen);
  if (!seen.personal) return null;
  return auditEntry(caller, operation, { kind: 'read', ...named(seen.customerIds, [output]) });
}

/** What a write has changed; null when nothing. */
export function changeEntry(
  caller: Caller,
  operation: Audited,
  input: unknown,
  output: unknown,
  auditContext: AuditContext,
): AuditEntry | null {
  const { results, applied } = output as { results?: BatchResults; applied?: boolean }; // read if there
  const changed = results?.filter(({ status }) => status === 'created' || status === 'updated');
  if (changed?.length === 0 || applied === false || operation.changed?.(output as never) === false) return null; // its own output
  const seen: Seen = { customerIds: new Set(auditContext.customerIds), personal: false };
  witness(operation.output)?.(output, seen);
  return auditEntry(caller, operation, {
    kind: 'write',
    // The record that the address names as well: the partner with whom a customer is shared.
    ...named(seen.customerIds, [input, ...(changed ?? [output])]),
    members: changed ? [...auditContext.members] : membersSent(operation.input, input),
    outcome: changed?.length === results?.length ? 'done' : 'partial',
  });
}

type BatchResults = { status: string; id?: string }[];

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Customers are named once, and not as records too. */
function named(customers: Set<string>, records: readonly unknown[]): { customerIds: string[]; recordIds: string[] } {
  const others = new Set<string>();
  for (const record of records) {
    const { id } = record as { id?: unknown }; // read if there
    if (typeof id === 'string' && uuid.test(id) && !customers.has(id)) others.add(id);
  }
  return { customerIds: [...customers], recordIds: [...others] };
}

/** Names that the schema gives; what a client makes up (attributes) is no member of a body. */
function membersSent(input: Audited['input'], parsed: unknown): string[] {
  const schema = input.shape['body'];
  const { body: sent } = parsed as { body?: object }; // parsed by the operation's input
  if (!schema || !sent) return [];
  const names = new Set(membersOf(schema).map(([name]) => name));
  return Object.keys(sent).filter((name) => names.has(name));
}

/** Marks the id of a customer; members that are called so by name need no mark (`customerId`, `leadId`). */
export function customerKey<T extends z.ZodType>(schema: T): T {
  const marked = schema.clone(undefined, { parent: true });
  keys.add(marked, { customer: true });
  return marked;
}

const keys = z.registry<{ customer: true }>();
const keyNames = new Set(['customerId', 'leadId']);

/** What an answer shows. */
export interface Seen {
  customerIds: Set<string>;
  /** Whether a personal member has a value. */
  personal: boolean;
}

/** Compiles a schema into a function that says what an answer shows; null when it has neither customers nor personal members. */
export const witness: (schema: Schema) => Act<Seen> | null = walker<Seen>({
  at: (place) => (namesCustomer(place) ? noteCustomer : isPersonal(place.schema) ? notePersonal : 'enter'),
});

function namesCustomer({ key, schema }: Place): boolean {
  return (key !== null && keyNames.has(key)) || markOf(keys, schema) !== null;
}

const noteCustomer: Act<Seen> = (value, seen) => {
  if (typeof value === 'string') seen.customerIds.add(value);
  return value;
};

const notePersonal: Act<Seen> = (value, seen) => {
  if (value !== null && value !== undefined) seen.personal = true;
  return value;
};

const customersIn = walker<Seen>({ at: (place) => (namesCustomer(place) ? noteCustomer : 'enter') });

/** Whether answers of the schema say whose data they show. */
export function namesCustomers(schema: Schema): boolean {
  return customersIn(schema) !== null;
}
