import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, type Outcome, runBatch, warning } from '../platform/batch.ts';
import { param, Retry, statement, type Transaction } from '../platform/db/client.ts';
import { invalid, notFound, Problem, type ProblemCode } from '../platform/errors.ts';
import {
  type Context,
  readOperation,
  type Selectable,
  writeOperation,
  writeParameters,
} from '../platform/operation.ts';
import {
  keysetList,
  type Page,
  pageOf,
  pageParameters,
  type Search,
  sortParameter,
  updatedFrom,
} from '../platform/page.ts';
import type { RecordSource } from '../platform/record-source.ts';
import { id } from '../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../platform/versions.ts';
import { customFilters } from './custom-fields.ts';
import { beginEffects, type State } from './effects.ts';
import { recordSource } from './json.ts';
import { lazily } from './lazily.ts';
import { isSomebody } from './nobody.ts';
import { customerRequired } from './ownership.ts';
import type { RecordWrite } from './prepare.ts';
import type { Access, Kind } from './record.ts';
import { idByReference, type Target, targetId } from './references/queries.ts';
import { deletionVersion, referenceInput, restoreInput, targetParameters } from './references/record.ts';
import { isDeletionNews } from './references/write.ts';
import { type AnswerRow, answerById, answerByReference, answersById, readAnswer, statementsOf } from './statements.ts';
import { columnNamed, definitionOf } from './table.ts';
import { asOutcome, storeOf, writeOne, writeRecords } from './write.ts';

/*
 * The operations of every kind of record: create, read, list, change, replace, delete, push many. Each is an operation
 * of its own, so that a feature can leave it out or do it by hand.
 */

export interface OperationTexts {
  summary?: string;
  description?: string;
}

export interface ListFilter {
  /** Its parameter; none: the operation makes its value of others. */
  input?: z.ZodType;
  condition: (value: SQL) => SQL;
  /** Its values may match every row or none, so the statement is planned for them each time. */
  uneven?: boolean;
  /** What the parameter's value is compared as. */
  normalize?: (value: unknown) => unknown;
  /** Selects by personal data. */
  personal?: boolean;
  /** The members it selects by, when they have other names: `Interaction.text`. */
  selects?: readonly string[];
}

export interface ListSort {
  /** See `Sort` of platform/page.ts. */
  whenNull?: string;
  expression: SQL;
  type: string;
  /** Where a row carries the value, when that is not the member itself. */
  field?: string;
  /** Its column in the select list, when it has one of its own. */
  select?: SQL;
  /** Where the expression is found, when that is not the table: joins behind it. */
  join?: SQL;
}

export interface OperationOptions {
  texts?: Partial<
    Record<'create' | 'read' | 'list' | 'listOfOwner' | 'update' | 'upsert' | 'delete' | 'batch', OperationTexts>
  >;
  /** Besides those of the fields, or instead of one. */
  filters?: Readonly<Record<string, ListFilter>>;
  sorts?: Readonly<Record<string, ListSort>>;
  defaultSort?: string;
  /** Parameters of the list whose meaning code finds out; those that are `personal` need `customers:pii`. */
  search?: Omit<Search, 'parameters'> & { parameters: z.ZodRawShape; personal: readonly string[] };
  /** An Idempotency-Key is required to create; otherwise it is accepted. */
  createNeedsKey?: boolean;
  problems?: Partial<Record<'create' | 'update' | 'upsert' | 'delete', readonly ProblemCode[]>>;
  /** Whether a record that was written waits for another one: 202. */
  waits?: (answer: object) => boolean;
  /** Called before a record is deleted, under its lock. @throws Problem why it cannot be deleted */
  beforeDelete?: (tx: Transaction, recordId: string) => Promise<unknown>;
}

/** `an order`, `a return` */
function a(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const castOf: Readonly<Record<string, string>> = {
  uuid: 'uuid',
  boolean: 'boolean',
  date: 'date',
  integer: 'int',
  bigint: 'bigint',
  'timestamp with time zone': 'timestamptz',
  numeric: 'numeric',
};

/** What rows without a value are ordered by: nothing is less. In `asc` they come first, in `desc` last. */
const lowestOf: Readonly<Record<string, string>> = {
  uuid: '00000000-0000-0000-0000-000000000000',
  boolean: 'false',
  date: '-infinity',
  int: '-2147483648',
  bigint: '-9223372036854775808',
  timestamptz: '-infinity',
  numeric: '-infinity',
  text: '',
};

/** `placedAt` → `placed`: of `placedFrom` and `placedTo`. */
function stem(member: string): string {
  return member.replace(/(At|On)$/, '');
}

/** Filters and orders of a list, by the marks of the fields. */
export function listParts(kind: Kind, { filters = {}, sorts = {}, defaultSort }: OperationOptions) {
  const custom: Readonly<Record<string, ListFilter>> = customFilters(kind.table);
  const found: Record<string, ListFilter> = {};
  const sortable: Record<string, ListSort> = {};
  let happened: string | null = null;
  for (const [member, { spec }] of Object.entries(kind.fields)) {
    const column = columnNamed(kind.table, member);
    const cast = castOf[column.getSQLType()];
    const typed = (value: SQL) => (cast ? sql`${value}::${sql.raw(cast)}` : value);
    const schema = spec.input ?? spec.output;
    if (schema === null) continue;
    const marks = spec.personal ? { personal: true } : {};
    if (spec.filter) {
      found[member] = {
        input: spec.personal ? schema.optional().meta({ description: 'Needs `customers:pii`.' }) : schema.optional(),
        condition: (value) => sql`${column} = ${typed(value)}`,
        uneven: true,
        ...marks,
      };
    }
    if (spec.range) {
      found[`${stem(member)}From`] = {
        input: member === 'updatedAt' ? updatedFrom(schema) : schema.optional(),
        condition: (value) => sql`${column} >= ${typed(value)}`,
        ...marks,
      };
      found[`${stem(member)}To`] = {
        input: schema.optional(),
        condition: (value) => sql`${column} < ${typed(value)}`,
        ...marks,
      };
    }
    if (spec.sort) {
      const sortType = cast ?? 'text';
      const whenNull = spec.need === 'optional' ? lowestOf[sortType] : undefined;
      sortable[member] = { expression: sql`${column}`, type: sortType, ...(whenNull !== undefined && { whenNull }) };
    }
    if (spec.happened) happened ??= member;
  }
  const [first] = Object.keys({ ...sortable, ...sorts });
  return {
    filters: { ...found, ...custom, ...filters },
    sorts: { ...sortable, ...sorts },
    defaultSort: defaultSort ?? `-${happened ?? first ?? 'id'}`,
  };
}

/** The operations of a kind; each is an operation like any other. */
export function operationsOf<K extends Kind>(kind: K, options: OperationOptions = {}) {
  type Answer = z.output<K['output']>;
  const { name, type, plural, owner, naming, access, input, document, patch } = kind;
  const output = kind.output as K['output'] & z.ZodObject; // a record is an object
  const { texts = {}, problems = {} } = options;
  const may = (what: Access['partners'][number]) => ({
    partners: access.partners.includes(what),
    selfService: access.selfService.includes(what),
  });
  const never = { partners: false, selfService: false };
  const read = `${access.scope}:read`;
  const write = `${access.scope}:write`;
  const waiting = options.waits && { waits: options.waits as (made: Answer) => boolean }; // answers are objects
  const writtenRecord = output
    .extend({ ...written, ...(owner && { warnings: z.array(warning) }) })
    .meta({ id: `Written${type}` }) as unknown as K['output']; // and what became of the message
  const addressed = naming === 'none' ? { id } : targetParameters;
  const deletionParameters = (naming === 'none' ? {} : { sourceVersion: deletionVersion }) as {
    sourceVersion: typeof deletionVersion; // absent without references
  };
  /** What writes by reference answer; those that read say that there is nothing. */
  const ifDeleted = naming === 'none' ? [] : (['deleted'] as const);
  const idOf = (db: Transaction | Context['db'], target: Target) => targetId(db, name, target);
  const answer = (found: Answer | null): Answer => {
    if (!found) throw notFound(name);
    return found;
  };
  const parts = listParts(kind, options);
  const conditions = Object.fromEntries(
    Object.entries(parts.filters).map(([filter, { condition }]) => [filter, condition]),
  );
  const customerId = owner ? columnNamed(kind.table, 'customerId') : null;
  const ownerMember = definitionOf(kind.table).owner;
  /** Members that rows carry for the order alone. */
  const sortKeys = Object.values(parts.sorts).flatMap(({ select, field }) => (select && field ? [field] : []));
  const pages = lazily(() =>
    keysetList<AnswerRow>({
      name: plural,
      select: statementsOf(kind).columns,
      from: sql`${kind.table}`,
      id: sql`${columnNamed(kind.table, 'id')}`,
      // The rows that own records of nobody are none of them.
      ...(ownerMember === 'id' && { where: isSomebody(sql`${columnNamed(kind.table, 'id')}`) }),
      ...(ownerMember && { owner: sql`${columnNamed(kind.table, ownerMember)}` }),
      filters: {
        ...(customerId && { customerId: (value: SQL) => sql`${customerId} = ${value}::uuid` }),
        ...conditions,
      },
      uneven: Object.entries(parts.filters).flatMap(([filter, { uneven }]) => (uneven ? [filter] : [])),
      normalize: Object.fromEntries(
        Object.entries(parts.filters).flatMap(([filter, { normalize }]) => (normalize ? [[filter, normalize]] : [])),
      ),
      sorts: Object.fromEntries(
        Object.entries(parts.sorts).map(([member, { field = member, ...by }]) => [member, { ...by, field }]),
      ),
      defaultSort: parts.defaultSort,
      ...(options.search && {
        search: { parameters: Object.keys(options.search.parameters), condition: options.search.condition },
      }),
    }),
  );
  const page = async (context: Context, filter: Parameters<ReturnType<typeof pages>>[2]): Promise<Page<Answer>> => {
    const { data, page: info } = await pages()(context.db, context, filter);
    for (const row of data) for (const key of sortKeys) delete row[key];
    return { data: data.map((row) => readAnswer<Answer>(kind, row)), page: info };
  };
  /** What GraphQL and text answers select of its records; null: they need code. */
  const selectable = (how: (source: RecordSource) => Omit<Selectable, 'source'>) =>
    lazily(() => {
      const source = recordSource(kind);
      return source && { source, ...how(source) };
    });
  const sortNames = Object.keys(parts.sorts) as [string, ...string[]]; // every list has an order
  const listParameters = {
    ...pageParameters,
    sort: sortParameter(sortNames, parts.defaultSort),
    ...Object.fromEntries(
      Object.entries(parts.filters).flatMap(([filter, { input: schema }]) => (schema ? [[filter, schema]] : [])),
    ),
    ...options.search?.parameters,
  };
  const personalParameters = [
    ...Object.entries(parts.filters).flatMap(([filter, { personal }]) => (personal ? [filter] : [])),
    ...(options.search?.personal ?? []),
  ];
  const selects = Object.fromEntries(
    Object.entries(parts.filters).flatMap(([filter, { selects: member }]) => (member ? [[filter, member]] : [])),
  );
  const selecting = {
    ...(personalParameters.length > 0 && { personalParameters }),
    ...(Object.keys(selects).length > 0 && { selects }),
  };
  const pageOutput = pageOf(output).meta({ id: `${type}Page` });

  const ownerExists = lazily(() =>
    statement(
      `${name}_owner`,
      sql`select from ${owner?.column().table} where ${owner?.column()} = ${param('id')}::uuid`,
    ),
  );

  /** The record that a request addresses: its owner is locked, and it is read under the lock. */
  async function lockRecord(tx: Transaction, target: Target): Promise<State> {
    const recordId = await targetId(tx, name, target, { toWrite: true });
    const store = storeOf(kind);
    if (owner) {
      const origin = await store.originOf(tx, recordId);
      if (!origin) throw notFound(name);
      await owner.owners.lock(tx, [origin.customerId]);
      const state = (await store.states(tx, [recordId])).get(recordId);
      if (state?.row.customerId !== origin.customerId) throw new Retry(`a ${name} moved or vanished`);
      return state;
    }
    await store.lock(tx, [recordId]);
    const state = (await store.states(tx, [recordId])).get(recordId);
    if (!state) throw notFound(name);
    return state;
  }

  return {
    lockRecord,
    /** A page and its cursors, for code that lists the records in another way. */
    page,
    pages,
    listParameters,
    pageOutput,
    writtenRecord,

    create: writeOperation({
      name: `create${type}`,
      scope: write,
      ...may('create'),
      summary: `Create ${a(name)}`,
      ...texts.create,
      input: z.strictObject({ ...writeParameters, body: input }),
      output: writtenRecord,
      idempotency: options.createNeedsKey ? 'required' : 'accepted',
      created: () => true,
      ...waiting,
      problems: problems.create ?? ['already_exists', 'deleted', customerRequired],
      run: (tx, context, { body }) => writeOne<Answer>(kind, tx, context, asWrite(kind, body, 'create')),
    }),

    get: readOperation({
      name: `get${type}`,
      scope: read,
      ...may('read'),
      summary: `Read ${a(name)}`,
      ...texts.read,
      input: z.strictObject(addressed),
      output,
      problems: ['not_found'],
      async run({ db }, target: Target) {
        const { source, externalId } = target;
        if (target.id === undefined && source !== undefined && externalId !== undefined) {
          return answer(await answerByReference<Answer>(db, kind, { source, externalId }));
        }
        return answer(await answerById<Answer>(db, kind, await idOf(db, target)));
      },
      selectable: selectable(({ byId }) => ({
        async one({ db }, target: Target, select) {
          const { source, externalId } = target;
          const isNamed = target.id === undefined && source !== undefined && externalId !== undefined;
          const by = isNamed ? 'reference' : 'id';
          let query = select.shapes.get(by);
          if (!query) {
            const found = by === 'id' ? param('id') : idByReference(name);
            const whole = sql`select n.id, ${select.columns(sql`n`)} from (${byId(sql`${found}::uuid`)}) n`;
            query = statement(`select_${name}`, whole, { unprepared: select.unprepared(whole) });
            select.shapes.set(by, query);
          }
          const id = isNamed ? {} : { id: await idOf(db, target) };
          const row = await db.first(query, { ...id, source, externalId, ...select.values });
          if (!row) throw notFound(name);
          return row;
        },
      })),
    }),

    /** For GraphQL: records that others refer to; null for those that were deleted. */
    byIds: readOperation({
      name: `${plural}ByIds`,
      scope: read,
      ...may('read'),
      summary: `Read ${plural} by id`,
      input: z.strictObject({ ids: z.array(id) }),
      output: z.array(output.nullable()),
      async run({ db }, { ids }) {
        const found = await answersById<Answer>(db, kind, ids);
        return ids.map((recordId) => found.get(recordId) ?? null);
      },
      selectable: selectable(() => ({})),
    }),

    list: readOperation({
      name: `list${capital(plural)}`,
      scope: read,
      ...may('read'),
      summary: `List ${plural}`,
      ...texts.list,
      input: z.strictObject({ ...listParameters, ...(owner && { customerId: id.optional() }) }),
      output: pageOutput,
      ...selecting,
      run: (context, filter) => page(context, filter),
      selectable: selectable(() => ({
        page: (context, filter, select) => pages()(context.db, context, filter, select),
        all: (context, filter, select) => pages().everything(context, filter, select),
      })),
    }),

    /** The records of one owner; only of kinds that have one. */
    listOfOwner: readOperation({
      name: `list${capital(owner?.kind ?? name)}${capital(plural)}`,
      scope: read,
      ...may('read'),
      summary: `List a ${owner?.kind}'s ${plural}`,
      ...texts.listOfOwner,
      input: z.strictObject({ ...targetParameters, ...listParameters }),
      output: pageOutput,
      ...selecting,
      problems: ['not_found'],
      async run(context, { id: ownerId, source, externalId, ...filter }) {
        if (!owner) throw new TypeError(`${plural} have no owner`);
        const customerId = await targetId(context.db, owner.kind, { id: ownerId, source, externalId });
        const found = await page(context, { ...filter, customerId });
        // An empty page means that the owner has no records, so the owner must exist.
        if (found.data.length === 0 && !(await context.db.first(ownerExists(), { id: customerId }))) {
          throw notFound(owner.kind);
        }
        return found;
      },
      selectable: selectable(() => ({
        ofOwner: (ownerId, sort) => pages().first(sql`${customerId} = ${ownerId}`, sort),
      })),
    }),

    update: writeOperation({
      name: `update${type}`,
      scope: write,
      ...may('update'),
      summary: `Change ${a(name)}`,
      description: owner
        ? `Omitted members keep their values; null clears; sending another customer moves the ${name}.`
        : 'Omitted members keep their values; null clears.',
      ...texts.update,
      input: z.strictObject({ ...addressed, ...writeParameters, expectedVersion, body: patch }),
      output: writtenRecord,
      idempotency: 'accepted',
      ...waiting,
      problems: [...(problems.update ?? ['not_found', 'version_mismatch', 'version_required']), ...ifDeleted],
      async run(tx, context, { body, expectedVersion: expected, ...target }) {
        const recordId = await targetId(tx, name, target as Target, { toWrite: true }); // by `addressed`
        return writeOne<Answer>(kind, tx, context, {
          mode: 'patch',
          id: recordId,
          input: body,
          expectedVersion: expected,
        });
      },
    }),

    upsert: writeOperation({
      name: `upsert${type}`,
      scope: write,
      ...never,
      summary: `Create or replace ${a(name)} by reference`,
      description:
        'Omitted members are cleared. An equal or older `sourceVersion` changes nothing and answers `applied: false`.',
      ...texts.upsert,
      input: z.strictObject({
        ...referenceInput.shape,
        ...writeParameters,
        expectedVersion: expectedVersion.optional(),
        restore: restoreInput,
        body: document,
      }),
      output: writtenRecord,
      idempotency: 'accepted',
      created: (made) => (made as unknown as { created: boolean }).created, // of what was written
      ...waiting,
      problems: problems.upsert ?? ['version_mismatch', 'already_exists', 'deleted', customerRequired],
      run: (tx, context, { source, externalId, body, expectedVersion: expected, restore }) =>
        writeOne<Answer>(kind, tx, context, {
          mode: 'upsert',
          source,
          externalId,
          input: body,
          expectedVersion: expected,
          restore,
        }),
    }),

    remove: writeOperation({
      name: `delete${type}`,
      scope: write,
      ...never,
      summary: `Delete ${a(name)}`,
      description:
        'The references are kept as tombstones: whatever message comes late under one of them, of whatever version, is answered with 410 `deleted`.',
      ...texts.delete,
      input: z.strictObject({
        ...addressed,
        ...writeParameters,
        expectedVersion,
        ...deletionParameters,
      }),
      output: deletedRecord,
      changed: ({ deleted }) => deleted,
      idempotency: 'accepted',
      problems: [...(problems.delete ?? ['not_found', 'version_mismatch', 'version_required']), ...ifDeleted],
      async run(tx, context, { expectedVersion: expected, sourceVersion, ...target }) {
        const state = await lockRecord(tx, target as Target); // by `addressed`
        checkVersion(state.row.version, expected);
        if (!(await isDeletionNews(tx, state.references, target as Target, sourceVersion, context.now))) {
          return { id: state.row.id, deleted: false };
        }
        await options.beforeDelete?.(tx, state.row.id);
        await deleteState(kind, tx, context, state);
        return { id: state.row.id, deleted: true };
      },
    }),

    batch: writeOperation({
      name: `batch${capital(plural)}`,
      scope: write,
      ...never,
      summary: `Push up to 1,000 ${plural}`,
      description:
        'Each item is an upsert by reference, in index order. The status is always 200, with a result per item.',
      ...texts.batch,
      input: batchInput(plural, input),
      output: batchResults,
      idempotency: 'accepted',
      problems: ['batch_refused'],
      run: (tx, context, { body, atomic }) =>
        runBatch(tx, body, input, { plural, atomic }, (items) => writeItems(kind, tx, context, items)),
    }),
  };
}

/** Deletes a locked record; its references are kept as tombstones. */
export async function deleteState(kind: Kind, tx: Transaction, context: Context, state: State): Promise<void> {
  const finish = beginEffects(kind.writing.after, tx, context, [{ before: state, after: null }]);
  const { id: recordId, customerId } = state.row;
  await tx.all(statementsOf(kind).remove, { id: recordId, now: context.now, ...(customerId && { customerId }) });
  await finish();
}

/** A document is matched by its own reference; without one it is a new record each time. */
function asWrite({ naming }: Kind, body: object, mode: 'create' | 'upsert'): RecordWrite {
  if (naming === 'list' || naming === 'none') return { mode: 'new', source: null, input: body };
  const { source, externalId, ...input } = body as { source?: string; externalId?: string }; // of its schema
  if (source !== undefined && externalId !== undefined) return { mode, source, externalId, input };
  return { mode: 'new', source: source ?? null, input };
}

/** Items of a batch: upserts by their own reference, or by the first of their references. */
async function writeItems(kind: Kind, tx: Transaction, context: Context, items: readonly object[]): Promise<Outcome[]> {
  if (kind.naming !== 'list') {
    const writes = items.map((item) => asWrite(kind, item, 'upsert'));
    return (await writeRecords(kind, tx, context, writes)).map(asOutcome);
  }
  const outcomes: Outcome[] = items.map(() =>
    invalid('/references', 'required', 'Send a reference: an upsert matches by the first one.'),
  );
  const named = items.flatMap((item, index) => {
    const { references = [], ...input } = item as RecordWrite['input'] & {
      references?: { source: string; externalId: string }[];
    }; // of its schema
    const [own, ...others] = references;
    return own ? [{ index, write: { mode: 'upsert' as const, ...own, input: { ...input, references: others } } }] : [];
  });
  const results = await writeRecords(
    kind,
    tx,
    context,
    named.map(({ write }) => write),
  );
  for (const [at, { index }] of named.entries()) {
    const result = results[at];
    if (result) outcomes[index] = byFirstReference(asOutcome(result));
  }
  return outcomes;
}

/** The own reference of an item is the first of its references, not part of an address. */
function byFirstReference(outcome: Outcome): Outcome {
  if (!(outcome instanceof Problem)) return outcome;
  return outcome.withErrors((error) => ({
    ...error,
    ...(error.pointer === '/externalId' && { pointer: '/references/0' }),
    ...(error.pointer?.startsWith('/references/') && {
      pointer: error.pointer.replace(/\d+/, (place) => String(Number(place) + 1)),
    }),
  }));
}
