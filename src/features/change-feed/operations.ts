import { z } from 'zod';
import type { AuditEntry } from '../../platform/audit.ts';
import { Problem, problemType } from '../../platform/errors.ts';
import { type Context, call, noteShown, readOperation, requireScope } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { eventKind, heardKinds, readerOf, scopeOf, toldMembers } from './kinds.ts';
import { type EventRow, eventsAfter, type Wanted } from './queries.ts';

export const cursorExpired = problemType('cursor_expired', 410, 'The events after the cursor are not kept any more');

/** Seconds. */
const longestWait = 30;

const event = z
  .strictObject({
    id: id.meta({ description: 'Stays the same whenever the event is read.' }),
    type: z.string().meta({
      description:
        'The kind and what happened: `created`, `updated`, `deleted`; of customers also `merged` (into `customerId`), `unmerged`, `erased`, and for partners `shared` and `unshared`.',
      example: 'order.updated',
    }),
    occurredAt: instant.meta({ description: 'When its transaction began, by the clock of the database.' }),
    record: z
      .strictObject({
        kind: eventKind,
        id: z.string().meta({
          description:
            'The id of the record. Of leads and loyalty accounts: that of the customer; of exchange rates: `USD/2026-03-01`.',
        }),
        version: z
          .int()
          .optional()
          .meta({ description: 'The version that the change made. Left out where records have none.' }),
      })
      .meta({ id: 'EventRecord' }),
    customerId: id.nullable().meta({ description: 'Whose record it is now; null: nobody’s.' }),
    changed: z.array(z.string()).meta({
      description:
        'Names of the members that changed, of updates. `customerId`: the record moved, and others may have changed with it. Members that are worked out at reading are not in it.',
      example: ['paymentStatus'],
    }),
    current: z.record(z.string(), z.unknown()).optional().meta({
      description:
        'With `include=record`: the record as you may see it now, which may be a later version. Left out when it is gone, was erased, or cannot be read by its id.',
    }),
  })
  .meta({ id: 'Event', description: 'A change of a record. It holds names of members, never values.' });
export type Event = z.output<typeof event>;

export const eventInclude = z.enum(['record']).meta({ id: 'EventInclude', description: 'What comes with events.' });
export const eventType = text(100);

const eventPage = pageOf(event).meta({ id: 'EventPage' });

const { limit, cursors } = pageParameters;

export const listEvents = readOperation({
  name: 'listEvents',
  scope: 'events:read',
  partners: true,
  selfService: true,
  summary: 'Follow all changes',
  description: `Every change of every record in the order in which it was made, once, however many others write at the same time: nothing is skipped, and for each record and customer the order is that of its versions. Go on with \`after\`=\`page.next\`, which is always there, also when there is nothing yet. Without \`after\`, the feed starts with the oldest event that is kept (by default 90 days). A change is told once it and all that were begun before it are committed.

You hear of the kinds that your token may read. Partners hear of their customers; a record that moves to another customer is \`deleted\` to them, and \`customer.shared\` and \`customer.unshared\` tell when sharing begins and ends: read the records of a customer when it begins.

To start with what there is: take a cursor (\`GET /v1/events/position\`), read the lists, then follow from the cursor. What changed meanwhile comes again: keep a record if its \`version\` is not lower than the one that you have. A retry of a page is the same page.`,
  input: z.strictObject({
    limit,
    after: text(1024).optional().meta({ description: 'The `next` of the previous page, or a position.' }),
    cursors,
    kind: z
      .array(eventKind)
      .min(1)
      .optional()
      .meta({
        description: 'Only these kinds. Default: all that the token may read.',
        example: ['order', 'refund'],
      }),
    type: z
      .array(eventType)
      .min(1)
      .max(100)
      .optional()
      .meta({
        description: 'Only these types.',
        example: ['order.created', 'customer.merged'],
      }),
    customerId: id.optional().meta({ description: 'Only records that were of this customer after the change.' }),
    include: z
      .array(eventInclude)
      .optional()
      .meta({ description: '`record`: each record as you may see it now, as `current`.', example: ['record'] }),
    wait: z
      .int()
      .min(0)
      .max(longestWait)
      .optional()
      .meta({
        description: `When there is nothing yet, how long to wait for it, at most ${longestWait} seconds. Default: 0.`,
        example: 20,
      }),
  }),
  output: eventPage,
  problems: [cursorExpired],
  async run(context, { after: cursor, wait = 0, include, ...filter }) {
    const { db, feed, principal } = context;
    const kinds = kindsFor(context, filter.kind);
    const most = filter.limit ?? defaultLimit;
    const waitsUntil = performance.now() + wait * 1000;
    for (let after = cursor === undefined ? 0 : positionOf(context, cursor); ; ) {
      const { settled, dropped } = await feed.ends();
      if (cursor !== undefined && after < dropped) throw expired();
      const until = Math.max(settled, after);
      const rows = await eventsAfter(db, principal, {
        after,
        until,
        kinds,
        types: filter.type,
        customerId: filter.customerId,
        limit: most + 1,
      });
      const left = waitsUntil - performance.now();
      if (rows.length > 0 || left <= 0 || feed.stopped) {
        const found = pageFrom(rows, {
          limit: most,
          cursor: ({ seq }) => cursorAt(context, seq),
          cursors: filter.cursors,
        });
        const next = found.page.next ?? cursorAt(context, until);
        return {
          data: await withRecords(context, found.data, include?.includes('record') ?? false),
          page: { ...found.page, next },
        };
      }
      await feed.beyond(until, left);
      after = until;
    }
  },
});

export const getEventPosition = readOperation({
  name: 'getEventPosition',
  scope: 'events:read',
  partners: true,
  selfService: true,
  summary: 'Read where the changes stand now',
  description:
    'A cursor for `GET /v1/events`. Every change up to it is committed, and so in the lists that you read from now on; all others follow it. Some of these may be in the lists as well: their versions tell.',
  input: z.strictObject({}),
  output: z.strictObject({ position: z.string() }).meta({ id: 'EventPosition' }),
  async run(context) {
    return { position: cursorAt(context, (await context.feed.ends()).settled) };
  },
});

/** @throws Problem insufficient_scope when one that was asked for is none of those that the caller may hear of */
export function kindsFor(context: Context, asked: readonly string[] | undefined): readonly string[] {
  const heard = heardKinds(context);
  const closed = asked?.find((kind) => !heard.includes(kind));
  if (closed === undefined) return asked ?? heard;
  requireScope(context, scopeOf(closed));
  throw new Problem('not_supported', `Events of ${closed} are not available to your token, whatever its scopes.`);
}

/** A position is one of the whole feed: filters may change from page to page. */
const scope = ({ principal }: Context) => JSON.stringify([principal.key, 'events']);

function cursorAt(context: Context, position: number): string {
  return context.cursors.encode({ scope: scope(context), key: [position, ''] });
}

function positionOf(context: Context, cursor: string): number {
  return Number(context.cursors.decode(cursor, scope(context))[0]);
}

function expired(): Problem {
  const message = 'Events after it are not kept any more. Take a new position, read the lists, and follow from there.';
  return new Problem(cursorExpired, message, {
    errors: [{ parameter: 'after', code: 'cursor_expired', message }],
  });
}

/** What is gone, and what only the id may be told of. */
const withoutRecord = new Set(['deleted', 'erased', 'merged', 'shared', 'unshared']);
/** Records that are read at the same time. */
const atOnce = 8;

async function withRecords(context: Context, rows: readonly EventRow[], included: boolean): Promise<Event[]> {
  const events = rows.map((row) => asEvent(context, row));
  if (!included) return events;
  const wanted = new Map<string, { row: EventRow; events: Event[] }>();
  for (const [index, row] of rows.entries()) {
    const told = events[index];
    if (!told || withoutRecord.has(row.action)) continue;
    const name = `${row.kind} ${row.recordId}`;
    wanted.set(name, { row, events: [...(wanted.get(name)?.events ?? []), told] });
  }
  const waiting = [...wanted.values()];
  // One entry of the audit for all that the page shows, as for any other page.
  const shown: AuditEntry[] = [];
  const reading: Context = { ...context, audit: { ...context.audit, seen: (entry) => shown.push(entry) } };
  const reader = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const current = await currentRecord(reading, next.row);
      if (current) for (const told of next.events) told.current = current;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, waiting.length) }, reader));
  if (shown.length > 0) {
    const ids = (of: 'customerIds' | 'recordIds') => [...new Set(shown.flatMap((entry) => entry[of]))];
    noteShown(listEvents, context, ids('customerIds'), ids('recordIds'));
  }
  return events;
}

/** Events as the caller of `GET /v1/events` would read them now, with their positions: for who sends them on. */
export async function toldEvents(
  context: Context,
  { records, ...wanted }: Wanted & { records: boolean },
): Promise<{ position: number; event: Event }[]> {
  const rows = await eventsAfter(context.db, context.principal, wanted);
  const events = await withRecords(context, rows, records);
  return events.map((event, index) => ({ position: rows[index]?.seq ?? 0, event }));
}

/** The record as the caller may see it, masked and audited as any read of it is; null: it is not there for it. */
async function currentRecord(context: Context, { kind, recordId }: EventRow): Promise<Record<string, unknown> | null> {
  const operation = readerOf(kind);
  if (!operation) return null;
  try {
    const { output } = await call(operation, context, { id: recordId });
    return output as Record<string, unknown>; // a record is an object
  } catch (error) {
    if (error instanceof Problem && error.status !== 503) return null;
    throw error;
  }
}

function asEvent(context: Context, { seq, at, kind, action, recordId, version, customerId, changed }: EventRow): Event {
  return {
    id: eventId(seq, at),
    type: `${kind}.${action}`,
    occurredAt: at,
    record: { kind, id: recordId, ...(version !== null && { version }) },
    customerId,
    changed: toldMembers(context, kind, changed),
  };
}

/** A UUIDv7 of the instant and the position. */
function eventId(seq: number, at: string): string {
  const time = Date.parse(at).toString(16).padStart(12, '0');
  const place = seq.toString(16).padStart(15, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8${place.slice(0, 3)}-${place.slice(3)}`;
}

/** The position that an id of `eventId` holds. */
export function positionIn(id: string): number {
  return Number.parseInt(id.slice(20).replace('-', ''), 16);
}
