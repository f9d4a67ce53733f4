import { isDeepStrictEqual } from 'node:util';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { isBefore } from '../../domain/period.ts';
import { auditEntry } from '../../platform/audit.ts';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { enqueue } from '../../platform/jobs.ts';
import {
  type Context,
  personalScope,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, smallInteger } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import {
  conditionOf,
  personalIn,
  type Question,
  readQuestion,
  requireReadable,
  scopesOf,
} from '../../records/condition-query.ts';
import { customList } from '../../records/custom-fields.ts';
import { isSomebody } from '../../records/nobody.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { conditionInput } from '../customers/condition-input.ts';
import { listCustomers } from '../customers/operations.ts';
import { customersByIds, lockCustomers } from '../customers/queries.ts';
import { customerRecord, customers } from '../customers/record.ts';
import { keepSegmentMembers } from './members.ts';
import { holdSegments, insert, keepVersion, lockSegment, remove, save, segmentById, usersOf } from './queries.ts';
import {
  type SegmentRow,
  segment,
  segmentChange,
  segmentFields,
  segmentInput,
  segmentInUse,
  segmentKind,
  segmentMembersSent,
  segmentMovement,
  segmentPatch,
  segments,
  segmentVersion,
  segmentVersions,
} from './record.ts';

const reads = { scope: 'segments:read', partners: false, selfService: false } as const;
const writes = { scope: 'segments:write', partners: false, selfService: false } as const;

/** Reads the tree of a request, which its caller has to be allowed to read. */
async function asked(
  db: Transaction | Context['db'],
  context: Context,
  tree: unknown,
  self?: string,
): Promise<Question> {
  const question = await readQuestion(db, tree, '/filter', self);
  requireReadable(context, question);
  return question;
}

/** The scopes that a segment needs; none of a list. */
async function needsOf(db: Transaction | Context['db'], { filter }: Pick<SegmentRow, 'filter'>): Promise<string[]> {
  if (filter === null) return [];
  const question = await readQuestion(db, filter, '/filter');
  return [...scopesOf(question), ...(personalIn(question).size > 0 ? [personalScope] : [])].sort();
}

async function told(db: Transaction | Context['db'], row: SegmentRow) {
  return { ...answeredMembers(segmentFields, row), needs: await needsOf(db, row) };
}

/** A segment that the caller may use. @throws Problem not_found, insufficient_scope */
async function usable(context: Context, segmentId: string): Promise<SegmentRow> {
  const row = await segmentById(context.db, segmentId);
  if (!row) throw notFound('segment');
  if (row.filter !== null) await asked(context.db, context, row.filter);
  return row;
}

export const createSegment = writeOperation({
  name: 'createSegment',
  ...writes,
  summary: 'Add a segment',
  description:
    'With a `filter`, its conditions decide who is in it; its members are worked out at once and every few minutes, and who enters and leaves is kept. Conditions on personal data need `customers:pii`, and those on records the scopes that read them: now, and whenever the segment is used.',
  input: z.strictObject({ ...writeParameters, body: segmentInput }),
  output: segment,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, context, { body }) {
    const { now, principal } = context;
    const given = sentMembers(segmentMembersSent, body, null);
    const row: SegmentRow = {
      id: newId(),
      version: 1,
      ...given,
      kind: given.filter === null ? 'list' : 'tree',
      filterVersion: 1,
      size: given.filter === null ? 0 : null,
      membersAt: given.filter === null ? now : null,
      keptFrom: given.filter === null ? now : null,
      createdAt: now,
      updatedAt: now,
    };
    if (row.filter !== null) await holdNamed(tx, await asked(tx, context, row.filter));
    await insert(tx, row);
    await follow(tx, row, principal.client, now);
    return told(tx, row);
  },
});

async function holdNamed(tx: Transaction, { groups }: Question): Promise<void> {
  await holdSegments(tx, [...groups.keys()]);
}

/** What follows a new tree. */
async function follow(tx: Transaction, row: SegmentRow, by: string, now: string): Promise<void> {
  const { id: segmentId, filter, filterVersion: number } = row;
  if (filter === null) return;
  await keepVersion(tx, { segmentId, number, filter, by, createdAt: now });
  enqueue(tx, keepSegmentMembers, { id: segmentId }, { key: segmentId });
}

export const getSegment = readOperation({
  name: 'getSegment',
  ...reads,
  summary: 'Read a segment',
  input: z.strictObject({ id }),
  output: segment,
  problems: ['not_found'],
  async run(context, { id: segmentId }) {
    return told(context.db, await usable(context, segmentId));
  },
});

const custom = customList(segments);

const list = keysetList<SegmentRow>({
  name: 'segments',
  select: answered(segments),
  from: sql`${segments}`,
  id: sql`${segments.id}`,
  filters: { kind: (value) => sql`${segments.kind} = ${value}`, ...custom.filters },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    name: { expression: sql`${segments.name} collate "C"`, type: 'text', field: 'name' },
    createdAt: { expression: sql`${segments.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: '-createdAt',
});

export const listSegments = readOperation({
  name: 'listSegments',
  ...reads,
  summary: 'List segments',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['name', 'createdAt'], '-createdAt'),
    kind: segmentKind.optional(),
    ...custom.parameters,
  }),
  output: pageOf(segment).meta({ id: 'SegmentPage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: await Promise.all(data.map((row) => toldTo(context, row))), page };
  },
});

/** In a list, what the caller may not use says neither what it asks nor how many it finds. */
async function toldTo(context: Context, row: SegmentRow) {
  const found = await told(context.db, row);
  const isOpen = found.needs.every((scope) => context.principal.has(scope));
  return isOpen ? found : { ...found, filter: null, size: null };
}

export const updateSegment = writeOperation({
  name: 'updateSegment',
  ...writes,
  summary: 'Change a segment',
  description:
    'Omitted members keep their values; null clears. Another `filter` is another version of it; who was in it before is kept.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: segmentPatch }),
  output: segment,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: segmentId, expectedVersion: expected, body }) {
    const before = await lockSegment(tx, segmentId);
    if (!before) throw notFound('segment');
    if (before.filter !== null) await asked(tx, context, before.filter);
    checkVersion(before.version, expected);
    const given = sentMembers(segmentMembersSent, body, before);
    if ((given.filter === null) !== (before.filter === null)) {
      throw invalid('/filter', 'segment_kind', 'A list stays a list, and a segment with a filter keeps one.');
    }
    const isOther = !isDeepStrictEqual(given.filter, before.filter);
    const row: SegmentRow = {
      ...before,
      ...given,
      filterVersion: before.filterVersion + Number(isOther),
      ...nextStamps(before, context.now),
    };
    if (isOther && row.filter !== null) await holdNamed(tx, await asked(tx, context, row.filter, segmentId));
    await save(tx, row);
    if (isOther) await follow(tx, row, context.principal.client, context.now);
    return told(tx, row);
  },
});

export const deleteSegment = writeOperation({
  name: 'deleteSegment',
  ...writes,
  summary: 'Delete a segment',
  description:
    'Refused with `segment_in_use` while other segments name it. Its versions and the history of its members go with it.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  changed: ({ deleted }) => deleted,
  idempotency: 'accepted',
  problems: ['not_found', segmentInUse, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: segmentId, expectedVersion: expected }) {
    const before = await lockSegment(tx, segmentId);
    if (!before) throw notFound('segment');
    checkVersion(before.version, expected);
    const users = await usersOf(tx, segmentId);
    if (users.length > 0) {
      const message = 'Other segments name it: change or delete them first.';
      throw new Problem(segmentInUse, message, { errors: [{ parameter: 'id', code: 'segments', message }] });
    }
    await remove(tx, segmentId);
    return { id: segmentId, deleted: true };
  },
});

const versions = keysetList<z.output<typeof segmentVersion> & { id: string }>({
  name: 'segment_versions',
  select: sql`${answered(segmentVersions)}, ${segmentVersions.number}::text as id`,
  from: sql`${segmentVersions}`,
  id: sql`${segmentVersions.number}::text`,
  idType: 'text',
  filters: { segmentId: (value) => sql`${segmentVersions.segmentId} = ${value}::uuid` },
  sorts: { number: { expression: sql`${segmentVersions.number}`, type: 'int', field: 'number' } },
  defaultSort: '-number',
});

export const listSegmentVersions = readOperation({
  name: 'listSegmentVersions',
  ...reads,
  summary: 'List the trees that a segment had',
  description: 'The newest first. A tree that the caller may not read is null.',
  input: z.strictObject({ id, ...pageParameters }),
  output: pageOf(segmentVersion).meta({ id: 'SegmentVersionPage' }),
  problems: ['not_found'],
  async run(context, { id: segmentId, ...input }) {
    await usable(context, segmentId);
    const { data, page } = await versions(context.db, context, { ...input, segmentId });
    const shown = data.map(async ({ id: _, ...row }) => {
      const needs = await needsOf(context.db, row).catch(() => [personalScope]); // what it named may be gone
      return needs.every((scope) => context.principal.has(scope)) ? row : { ...row, filter: null };
    });
    return { data: await Promise.all(shown), page };
  },
});

const asOf = instant.optional().meta({
  description:
    'The members at this instant, which is not ahead: by the facts up to then, and where the conditions read what has no past (profile, lead, points, parts of a record), by the members that were kept. Default: now.',
});

function checkPast(context: Context, given: string | undefined): string {
  if (given === undefined) return context.now;
  if (!isBefore(context.now, given)) return given;
  const message = 'asOf is ahead of the clock of the service.';
  throw new Problem('invalid_input', message, { errors: [{ parameter: 'asOf', code: 'in_the_future', message }] });
}

export const listSegmentMembers = readOperation({
  name: 'listSegmentMembers',
  ...reads,
  summary: 'List the customers in a segment',
  description:
    'Also needs the scope `customers:read`. Worked out anew with every page, except for lists and, where it has to be, the past.',
  input: z.strictObject({ id, ...pageParameters, sort: listCustomers.input.shape.sort, asOf }),
  output: listCustomers.output,
  problems: ['not_found'],
  async run(context, { id: segmentId, asOf: given, ...input }) {
    requireScope(context, listCustomers.scope);
    await usable(context, segmentId);
    const at = given === undefined ? {} : { asOf: checkPast(context, given) };
    const search = { ...input, filter: { segment: segmentId, ...at } };
    return listCustomers.run(context, search as typeof input); // its parameters are known by name alone
  },
});

const memberIds = z.strictObject({
  customerIds: z
    .array(id)
    .min(1)
    .max(1_000)
    .meta({ description: 'Up to 1,000 customers; those that are in it already stay.' }),
});

const putIn = statement<{ id: string }>(
  'put_into_segment',
  sql`insert into segment_members (customer_id, id, segment_id, entered_at)
    select n.customer_id, n.id, ${param('id')}::uuid, ${param('at')}::timestamptz
    from unnest(${param('customers')}::uuid[], ${param('ids')}::uuid[]) n(customer_id, id)
    where not exists (select from segment_members m where m.segment_id = ${param('id')}::uuid and m.customer_id = n.customer_id and m.left_at is null)
    returning customer_id as id`,
);
const takeOut = statement<{ id: string }>(
  'take_out_of_segment',
  sql`update segment_members m set left_at = ${param('at')}::timestamptz
    where m.segment_id = ${param('id')}::uuid and m.customer_id = any(${param('customers')}::uuid[]) and m.left_at is null
    returning customer_id as id`,
);
const resized = statement(
  'resize_segment',
  sql`update segments set members_at = ${param('at')}::timestamptz,
      size = (select count(distinct customer_id) from segment_members m where m.segment_id = segments.id and m.left_at is null)
    where id = ${param('id')}::uuid`,
);

const moved = z.strictObject({
  id,
  changed: smallInteger.meta({ description: 'Customers who were put in or taken out.' }),
});

/** Puts customers into a list or takes them out, under its lock: times of its members never go back. */
async function move(
  tx: Transaction,
  { now }: Context,
  segmentId: string,
  customerIds: readonly string[],
  how: 'in' | 'out',
): Promise<z.output<typeof moved>> {
  const row = await lockSegment(tx, segmentId);
  if (!row) throw notFound('segment');
  if (row.kind !== 'list') {
    throw invalid('', 'segment_kind', 'Conditions decide who is in this segment: change its filter.');
  }
  const wanted = [...new Set(customerIds)];
  const there = await lockCustomers(tx, wanted);
  if (how === 'in' && there.size < wanted.length) throw notFound('customer');
  const at = row.membersAt !== null && isBefore(now, row.membersAt) ? row.membersAt : now;
  const given = { id: segmentId, at, customers: wanted };
  const changed =
    how === 'in' ? await tx.all(putIn, { ...given, ids: wanted.map(() => newId()) }) : await tx.all(takeOut, given);
  await tx.all(resized, { id: segmentId, at });
  return { id: segmentId, changed: new Set(changed.map((one) => one.id)).size };
}

export const addSegmentMembers = writeOperation({
  name: 'addSegmentMembers',
  ...writes,
  summary: 'Put customers into a list',
  input: z.strictObject({ id, ...writeParameters, body: memberIds.meta({ id: 'SegmentMembersInput' }) }),
  output: moved.meta({ id: 'MovedSegmentMembers' }),
  changed: ({ changed }) => changed > 0,
  idempotency: 'accepted',
  problems: ['not_found'],
  run: (tx, context, { id: segmentId, body }) => move(tx, context, segmentId, body.customerIds, 'in'),
});

export const removeSegmentMember = writeOperation({
  name: 'removeSegmentMember',
  ...writes,
  summary: 'Take a customer out of a list',
  input: z.strictObject({ id, customerId: id, ...writeParameters }),
  output: deletedRecord,
  changed: ({ deleted }) => deleted,
  idempotency: 'accepted',
  problems: ['not_found'],
  async run(tx, context, { id: segmentId, customerId }) {
    const { changed } = await move(tx, context, segmentId, [customerId], 'out');
    if (changed === 0) throw notFound('member of this segment');
    return { id: customerId, deleted: true };
  },
});

const changes = keysetList<z.output<typeof segmentChange>>({
  name: 'segment_changes',
  select: sql`c.id as id, c.customer_id as "customerId", c.change as change, c.at as at`,
  from: sql`(select id || ':entered' as id, segment_id, customer_id, entered_at as at, 'entered' as change from segment_members
    union all select id || ':left', segment_id, customer_id, left_at, 'left' from segment_members where left_at is not null) c`,
  id: sql`c.id`,
  idType: 'text',
  filters: {
    segmentId: (value) => sql`c.segment_id = ${value}::uuid`,
    change: (value) => sql`c.change = ${value}`,
    customerId: (value) => sql`c.customer_id = ${value}::uuid`,
    atFrom: (value) => sql`c.at >= ${value}::timestamptz`,
    atTo: (value) => sql`c.at < ${value}::timestamptz`,
  },
  sorts: { at: { expression: sql`c.at`, type: 'timestamptz', field: 'at' } },
  defaultSort: 'at',
});

export const listSegmentChanges = readOperation({
  name: 'listSegmentChanges',
  ...reads,
  summary: 'List who has entered and left a segment',
  description:
    'The oldest first: go on with `after`, also when there was no further page, to follow the segment (ask for `cursors`).',
  input: z.strictObject({
    id,
    ...pageParameters,
    sort: sortParameter(['at'], 'at'),
    change: segmentMovement.optional(),
    customerId: id.optional(),
    atFrom: instant.optional(),
    atTo: instant.optional(),
  }),
  output: pageOf(segmentChange).meta({ id: 'SegmentChangePage' }),
  problems: ['not_found'],
  async run(context, { id: segmentId, ...input }) {
    await usable(context, segmentId);
    return changes(context.db, context, { ...input, segmentId });
  },
});

const preview = z
  .strictObject({
    asOf: instant,
    size: z.int().meta({ description: 'All customers for whom the conditions hold.' }),
    sample: z.array(customerRecord.output).meta({ description: 'The newest of them.' }),
  })
  .meta({ id: 'SegmentPreview', description: 'What a tree would find.' });

const previewInput = z
  .strictObject({
    filter: conditionInput,
    asOf: instant.optional().meta({ description: 'As of when. Default: now.' }),
    sample: z.int().min(0).max(100).optional().meta({ description: 'Customers to show. Default: 10.' }),
  })
  .meta({ id: 'SegmentPreviewInput' });

export const previewSegment = readOperation({
  name: 'previewSegment',
  ...reads,
  summary: 'Try a tree',
  description:
    'How many customers it finds, and some of them. Also needs the scope `customers:read`. Nothing is stored.',
  input: z.strictObject({ body: previewInput }),
  output: preview,
  async run(context, { body: { filter, asOf: given, sample = 10 } }) {
    requireScope(context, listCustomers.scope);
    const at = given === undefined ? context.now : checkAsOf(context, given);
    const question = await asked(context.db, context, filter);
    context.audit.admit();
    const members = ['filter', ...personalIn(question).keys()];
    context.audit.seen(auditEntry(context, previewSegment, { kind: 'read', members }));
    const { now, reportingTimeZone } = context;
    const condition = await conditionOf(context.db, question, {
      row: sql`${customers}`,
      asOf: at,
      now,
      reportingTimeZone,
    });
    const found = statement<{ size: number; ids: string[] }>(
      'preview_segment',
      sql`with found as materialized (select ${customers.id} as id, ${customers.createdAt} as at from ${customers}
          where ${isSomebody(sql`${customers.id}`)} and ${condition})
        select (select count(*) from found) as size,
          array(select id from found order by at desc, id desc limit ${String(sample)}::int) as ids`,
      { unprepared: true },
    );
    const { size = 0, ids = [] } = (await context.db.first(found)) ?? {};
    return { asOf: at, size, sample: await shown(context, ids) };
  },
});

function checkAsOf(context: Context, given: string): string {
  if (isBefore(context.now, given))
    throw invalid('/asOf', 'in_the_future', 'asOf is ahead of the clock of the service.');
  return given;
}

async function shown(context: Context, ids: readonly string[]) {
  const records = await customersByIds(context.db, ids);
  return ids.flatMap((customerId) => records.get(customerId) ?? []);
}
