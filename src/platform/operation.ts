import type { Readable } from 'node:stream';
import type { SQL } from 'drizzle-orm';
import type pg from 'pg';
import { z } from 'zod';
import type { Range } from '../domain/period.ts';
import { type Audit, auditEntry, background, changeEntry, type Origin, readEntry, witness } from './audit.ts';
import type { AccessDirectory } from './auth/directory.ts';
import type { StoredSecrets } from './auth/stored-secrets.ts';
import type { TokenIssuer } from './auth/token-issuer.ts';
import { checkBatch } from './batch-items.ts';
import type { CursorCodec } from './cursor.ts';
import { type Db, poolDb, type Transaction, transaction } from './db/client.ts';
import { type Pool, ScopedPool } from './db/scoped-pool.ts';
import { Problem, type ProblemCode } from './errors.ts';
import { inputProblem, reportInput } from './faults.ts';
import type { Feed } from './feed.ts';
import { claimKey, fingerprint, Replay, storeAnswer } from './idempotency.ts';
import type { KeyedHash } from './keyed-hash.ts';
import type { LinkTokens } from './link-token.ts';
import { maskForScoped, refuseMasked } from './masked-fields.ts';
import { IdsMerged, idsIn, mayBeMerged, Redirected, type Redirects, withRedirects } from './merged-ids.ts';
import { withoutNulls } from './not-given.ts';
import { beginWrite, endWrite, type OpenWrite } from './open-writes.ts';
import type { Outgoing } from './outgoing.ts';
import { type Mask, ordersByPersonal, personalSelectors, redactor } from './personal.ts';
import type { Principal, ScopedTo } from './principal.ts';
import type { Everything, RecordSource, Select, SelectedPage, SelectedRow } from './record-source.ts';
import { calls } from './watch.ts';

/** What the service gives to every operation. */
export interface Services {
  db: Db;
  pool: pg.Pool;
  /** The connections of scoped tokens (partner and customer tokens). Without them scoped tokens are refused. */
  scopedPools?: Record<ScopedTo['kind'], pg.Pool>;
  baseCurrency: string;
  reportingTimeZone: string;
  /** Where Node.js and PostgreSQL disagree about the clocks of that zone; undefined: nowhere. */
  zonesDiffer?: Range | undefined;
  cursors: CursorCodec;
  /** Of links that work without a login. */
  links: LinkTokens;
  /** The key that recognises erased persons, and nothing else. */
  tombstones: KeyedHash;
  /** Revocations, keys and the settings of partners, in memory. */
  directory: AccessDirectory;
  /** Issues the service's own tokens; null under an outside provider. */
  issuer: TokenIssuer | null;
  /** Who changed or read what. */
  audit: Audit;
  feed: Feed;
  /** Secrets in the database which the service has to use itself. */
  secrets: StoredSecrets;
  /** What is sent to addresses that clients name. */
  outgoing: Outgoing;
  /** Which of these ids were merged, and into which ids. */
  redirects: (db: Db, ids: readonly string[]) => Promise<Redirects>;
  /** The clock, as an RFC 3339 instant in UTC. A demo holds it still. */
  clock: () => string;
}

/** One call: who calls, when, and with what. Time is read here once and passed on. */
export interface Context extends Omit<Services, 'pool'> {
  /** Like `db`, but with the access of the caller: the database enforces the access policy of scoped tokens. */
  pool: Pool;
  principal: Principal;
  requestId: string;
  /** From where. Default: in the background. */
  origin: Origin;
  now: string;
  /** Whether the caller sees personal data (`customers:pii`). */
  personalData: boolean;
  /** An upsert that says what is stored already changes nothing, also without a `sourceVersion`: for files that are sent again. */
  keepsSame?: true;
}

export const personalScope = 'customers:pii';

export function createContext(
  services: Services,
  principal: Principal,
  requestId: string,
  origin: Origin = background,
): Context {
  const { scopedTo } = principal;
  const pool = scopedTo === null ? services.pool : scopedPool(services, scopedTo);
  // Member by member: V8 takes 20 µs to spread an object into a larger one, and this is done for every request.
  return {
    db: scopedTo === null ? services.db : poolDb(pool),
    pool,
    baseCurrency: services.baseCurrency,
    reportingTimeZone: services.reportingTimeZone,
    zonesDiffer: services.zonesDiffer,
    cursors: services.cursors,
    links: services.links,
    tombstones: services.tombstones,
    directory: services.directory,
    issuer: services.issuer,
    audit: services.audit,
    feed: services.feed,
    secrets: services.secrets,
    outgoing: services.outgoing,
    redirects: services.redirects,
    clock: services.clock,
    principal,
    requestId,
    origin,
    now: services.clock(),
    personalData: principal.has(personalScope),
  };
}

function scopedPool({ scopedPools }: Services, scopedTo: ScopedTo): ScopedPool {
  if (!scopedPools) throw new Error('Scoped tokens are not served here');
  return new ScopedPool(scopedPools[scopedTo.kind], scopedTo);
}

type Shape = z.ZodObject<z.ZodRawShape>;

interface Definition<I extends Shape, O extends z.ZodType> {
  /** camelCase verb and noun; the operationId of OpenAPI and the name in the audit of both doors. */
  name: string;
  /** The scope a token must carry. There is no operation without one. */
  scope: string;
  /**
   * Whether partner tokens may call it as well. What they see and change is limited by the database
   * (`db/access.ts`), not by the operation. Operations about the organisation itself are not for them.
   */
  partners: boolean;
  /** The same for customer tokens. */
  selfService: boolean;
  /**
   * REST serves it without a token: its input has to prove that the caller may have this (the
   * secret of a link), and neither it nor its answer is personal data. GraphQL asks for the scope all the same.
   */
  public?: true;
  summary: string;
  description?: string;
  /**
   * Everything the operation takes: path and query parameters by name, `expectedVersion` (If-Match),
   * `idempotencyKey` and `dryRun`, and `body` for the document sent. Strict: unknown members are refused.
   */
  input: I;
  output: O;
  /**
   * Input parameters that select or order by personal data but do not have the name of the member (`q`): refused without
   * `customers:pii`, because their results would reveal the data.
   */
  personalParameters?: readonly string[];
  /** For the audit: the customers whose personal data it returns, if their ids are not in the response. */
  about?: (context: Context, input: z.output<I>) => readonly string[] | Promise<readonly string[]>;
  /** Parameters that select by members of other names, `{ q: ['Interaction.topic', 'Interaction.text'] }`: see masked-fields.ts. */
  selects?: Readonly<Record<string, readonly string[]>>;
  /** Problem codes beyond those every operation has; for the documents. */
  problems?: readonly ProblemCode[];
}

/** What an operation answers, for who selects from it. */
export interface Selectable {
  source: RecordSource;
  /** The one record that the input addresses. @throws Problem not_found */
  one?(context: Context, input: never, select: Select): Promise<SelectedRow>;
  /** A page of them. */
  page?(context: Context, input: never, select: Select): Promise<SelectedPage>;
  /** All of them, in the order of their ids. */
  all?(context: Context, input: never, select: Select): Promise<Everything>;
  /** A select of the records of an owner, in an order of the list; the first of them with a limit. */
  ofOwner?(owner: SQL, sort: string | undefined): SQL;
}

/** Another media type of what an operation answers: see http/representations.ts. */
export interface Representation<O> {
  /** `text/csv` */
  media: string;
  /** Behind the address: `csv`. */
  suffix: string;
  headers?: Readonly<Record<string, string>>;
  of(output: O): string | Promise<string>;
}

export interface ReadOperation<I extends Shape = Shape, O extends z.ZodType = z.ZodType> extends Definition<I, O> {
  kind: 'read';
  /**
   * What REST answers instead of the output as JSON: a text that is in the output, as a stream, with headers that say its
   * media type. `media` has the types it may have, and the schema of those that are JSON.
   */
  document?: {
    media: Readonly<Record<string, z.ZodType | null>>;
    of: (output: z.output<O>) => { text: { stream(): Readable }; headers: Readonly<Record<string, string>> };
    /** It is made while it is sent, so only REST has it. */
    live?: true;
  };
  /** What REST answers besides JSON. Default: CSV of lists. */
  representations?: readonly Representation<z.output<O>>[];
  run: (context: Context, input: z.output<I>) => Promise<z.output<O>>;
}

export interface WriteOperation<I extends Shape = Shape, O extends z.ZodType = z.ZodType> extends Definition<I, O> {
  kind: 'write';
  /** `required`: refused without an Idempotency-Key; `accepted`: honoured when given. */
  idempotency: 'required' | 'accepted';
  /** 201 when the operation made something; read from the output. */
  created?: (output: z.output<O>) => boolean;
  /** 202 when what was sent waits for something else; read from the output. */
  waits?: (output: z.output<O>) => boolean;
  /** For the audit: whether it changed anything. Default: by `applied` and the results of a batch. */
  changed?: (output: z.output<O>) => boolean;
  /** It changes what the access directory reads: this process reloads before it answers, the others a little later. */
  changesAccess?: true;
  /** A dry run leaves a record that says what it found, so its transaction is committed. */
  keepsDryRun?: true;
  /** It takes a file: REST has it received behind the transaction, and answers what this returns. */
  upload?: Upload<z.output<O>>;
  /** Runs inside the one transaction that `call` opened; `context.db` is outside of it and not for use here. */
  run: (tx: Transaction, context: Context, input: z.output<I>) => Promise<z.output<O>>;
}

/** A file that is read as it comes: as slowly as what is made of it is stored. */
export interface Upload<Output = unknown> {
  /** The media types it may have, and what each says of the input, where that does not say it itself. */
  media: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** @param file its bytes, unpacked */
  receive(context: Context, output: Output, file: AsyncIterable<Buffer>): Promise<Output>;
}

/** The unit of the service: one definition of scope, input and output serves REST, GraphQL, OpenAPI and the tests. */
export type Operation = AnyRead | AnyWrite;
// Parameters of `run` are contravariant: a list of all operations can only be typed with inputs nobody can build by hand.
type AnyRead = Omit<ReadOperation, 'run' | 'about' | 'document' | 'representations'> & {
  run: (context: Context, input: never) => Promise<unknown>;
  representations?: readonly Representation<never>[];
  document?: Omit<NonNullable<ReadOperation['document']>, 'of'> & {
    of: (output: never) => ReturnType<NonNullable<ReadOperation['document']>['of']>;
  };
  about?: (context: Context, input: never) => readonly string[] | Promise<readonly string[]>;
};
type AnyWrite = Omit<WriteOperation, 'run' | 'about' | 'created' | 'waits' | 'changed' | 'upload'> & {
  run: (tx: Transaction, context: Context, input: never) => Promise<unknown>;
  about?: (context: Context, input: never) => readonly string[] | Promise<readonly string[]>;
  created?: (output: never) => boolean;
  waits?: (output: never) => boolean;
  changed?: (output: never) => boolean;
  upload?: Omit<Upload, 'receive'> & {
    receive(context: Context, output: never, file: AsyncIterable<Buffer>): Promise<unknown>;
  };
};

type Selecting = () => Selectable | null;

/** Belongs to one operation: one that is made of another by spreading it has another `run`, and would answer something else. */
const selectables = new WeakMap<object, Selecting>();

/** What can be selected of an operation's records as JSON; null: they are answered by `run` alone. */
export function selectableOf(operation: object): Selectable | null {
  return selectables.get(operation)?.() ?? null;
}

/** @param definition.selectable its records, where they can be selected as JSON: what `run` answers, to the last member */
export function readOperation<I extends Shape, O extends z.ZodType>({
  selectable,
  ...definition
}: Omit<ReadOperation<I, O>, 'kind'> & { selectable?: Selecting }): ReadOperation<I, O> {
  const operation: ReadOperation<I, O> = { ...(definition as Omit<ReadOperation<I, O>, 'kind'>), kind: 'read' };
  if (selectable) selectables.set(operation, selectable);
  return operation;
}

export function writeOperation<I extends Shape, O extends z.ZodType>(
  definition: Omit<WriteOperation<I, O>, 'kind'>,
): WriteOperation<I, O> {
  return { ...definition, kind: 'write' };
}

/** What `dryRun` and the keys look like in an input; spread into write operations. */
export const writeParameters = {
  dryRun: z.boolean().optional().meta({ description: 'Validate, return what would be the result, and write nothing.' }),
  idempotencyKey: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[\x21-\x7e]+( [\x21-\x7e]+)*$/)
    .optional()
    .meta({
      description:
        'A repeated call with the same key is answered with the response of the first one; kept for 48 hours.',
    }),
};

export interface Answer {
  output: unknown;
  status: 200 | 201 | 202 | 204;
  /** The JSON text of `output`, when it had to be made already (stored under an Idempotency-Key). */
  text?: string;
  replayed: boolean;
}

/**
 * The one way into an operation, for REST and GraphQL: scope → parse → run. A write runs in one transaction together with
 * its idempotency key, and is answered after COMMIT.
 *
 * Merged ids (of customers that were merged into others) still work: a call that finds nothing by them
 * runs again with the present ids. If something is found, nothing is looked up.
 *
 * @param addressed ids that stand in the address of the request
 * @param select answers a read in the place of its `run`
 * @throws Redirected when one of these is such an id
 */
export async function call(
  operation: Operation,
  context: Context,
  raw: unknown,
  addressed: readonly string[] = [],
  select: SelectAnswer | null = null,
): Promise<Answer> {
  if (!calls.isHeard) return answerCall(operation, context, raw, addressed, select);
  const since = performance.now();
  let outcome = 'ok';
  try {
    return await answerCall(operation, context, raw, addressed, select);
  } catch (error) {
    outcome = error instanceof Problem ? error.code : error instanceof Redirected ? 'redirected' : 'internal_error';
    throw error;
  } finally {
    const seconds = (performance.now() - since) / 1000;
    calls.tell({ operation: operation.name, door: context.origin.door, outcome, seconds });
  }
}

async function answerCall(
  operation: Operation,
  context: Context,
  raw: unknown,
  addressed: readonly string[],
  select: SelectAnswer | null,
): Promise<Answer> {
  authorize(operation, context);
  const parsed = parse(operation, context, raw);
  let input = parsed;
  for (let round = 1; ; round += 1) {
    await checkBatch(operation.input.shape['body'], (input as { body?: unknown }).body);
    const outcome = await attempt(operation, context, input, parsed, select);
    if (outcome.found) return outcome.answer;
    const redirects = outcome.redirects ?? (await context.redirects(context.db, [...idsIn(input)]));
    if (round === rounds || (redirects.size === 0 && !outcome.redirects)) {
      if ('answer' in outcome) return outcome.answer;
      throw outcome.error;
    }
    if (addressed.some((name) => redirects.has(name.toLowerCase()))) throw new Redirected(redirects);
    input = withRedirects(input, redirects) as never; // ids stand for ids
  }
}

/** The most runs of a call: a record that is merged again and again during the call is not followed forever. */
const rounds = 5;

type Outcome =
  | { found: true; answer: Answer }
  /** Nothing was found, maybe because of merged ids; `redirects`: certainly. */
  | ({ found: false; redirects?: Redirects } & ({ answer: Answer } | { error: unknown }));

async function attempt(
  operation: Operation,
  context: Context,
  input: never,
  parsed: never,
  select: SelectAnswer | null,
): Promise<Outcome> {
  try {
    const answer = select
      ? await runSelect(operation, context, input, select)
      : await run(operation, context, input, parsed);
    const data = (answer.output as { data?: unknown } | null)?.data; // of a page
    const isEmpty = operation.kind === 'read' && Array.isArray(data) && data.length === 0;
    return isEmpty && idsIn(input).size > 0 ? { found: false, answer } : { found: true, answer };
  } catch (error) {
    if (error instanceof IdsMerged) return { found: false, redirects: error.redirects, error };
    if (!mayBeMerged(error)) throw error;
    return { found: false, error };
  }
}

/** What was selected of the records of a read: masked already, as its caller asked for what it may see. */
export interface SelectedAnswer {
  output: unknown;
  text?: string;
  /** Whose personal data is in it; null: nobody's. */
  customerIds: readonly string[] | null;
  recordIds?: readonly string[];
}
export type SelectAnswer = (input: never) => Promise<SelectedAnswer>;

async function runSelect(operation: Operation, context: Context, input: never, select: SelectAnswer): Promise<Answer> {
  if (context.personalData && redactor(operation.output) !== null) context.audit.admit();
  const { output, text, customerIds, recordIds = [] } = await select(input);
  if (customerIds) noteShown(operation, context, customerIds, recordIds);
  return { output, ...(text !== undefined && { text }), status: 200, replayed: false };
}

/**
 * Writes down that personal data was answered.
 *
 * @throws Problem unavailable if it cannot be recorded: then it is not answered either
 */
export function noteShown(
  operation: Pick<Operation, 'name' | 'scope'>,
  context: Context,
  customerIds: readonly string[],
  recordIds: readonly string[] = [],
): void {
  const customers = new Set(customerIds);
  const others = recordIds.filter((recordId) => !customers.has(recordId));
  context.audit.admit();
  context.audit.seen(auditEntry(context, operation, { kind: 'read', customerIds: [...customers], recordIds: others }));
}

/** @param given the input as it came: what an idempotency key belongs to */
async function run(operation: Operation, context: Context, input: never, given: never): Promise<Answer> {
  const personal = redactor(operation.output);
  const redact = both(
    context.personalData ? null : personal,
    maskForScoped(operation, context.principal, fieldsOf(context)),
  );
  if (operation.kind === 'read') {
    const witnessed = context.personalData && personal !== null;
    if (witnessed) context.audit.admit();
    const output = await operation.run(context, input);
    redact?.(output);
    if (witnessed) await noteRead(operation, context, input, output);
    return { output, status: 200, replayed: false };
  }
  return callWrite(operation, context, { input, given }, redact);
}

/** @throws Problem unavailable if the read cannot be recorded: then it is not answered either */
async function noteRead(operation: Operation, context: Context, input: never, output: unknown): Promise<void> {
  const entry = readEntry(context, operation, output);
  if (entry === null) return;
  if (operation.about) entry.customerIds.push(...(await operation.about(context, input)));
  context.audit.admit();
  context.audit.seen(entry);
}

async function callWrite(
  operation: AnyWrite,
  context: Context,
  { input, given }: { input: never; given: never },
  redact: Mask | null,
): Promise<Answer> {
  const { dryRun: asked, idempotencyKey } = input as { dryRun?: boolean; idempotencyKey?: string }; // parsed by writeParameters
  const dryRun = asked && !operation.keepsDryRun;
  if (operation.idempotency === 'required' && idempotencyKey === undefined && !dryRun) {
    throw new Problem(
      'idempotency_key_required',
      `${operation.name} needs an Idempotency-Key, so that a retry cannot do it twice.`,
      {
        errors: [
          { parameter: 'Idempotency-Key', code: 'required', message: 'Send a unique key per intended operation.' },
        ],
      },
    );
  }
  const key =
    idempotencyKey === undefined || dryRun
      ? null
      : {
          client: context.principal.key,
          operation: operation.name,
          personal: context.personalData,
          key: idempotencyKey,
          fingerprint: fingerprint(given),
        };
  let changes = false;
  let open: OpenWrite | null = null;
  const done = transaction(
    context.pool,
    async (tx): Promise<Answer> => {
      // What it stamps on records is never before its transaction's start, nor that of a repetition.
      endWrite(context.clock, open);
      open = beginWrite(context.clock);
      context.now = open.now;
      const output = key
        ? await tx.pipelinedAfter(claimKey(tx, key), (claimed) => operation.run(claimed, context, input))
        : await operation.run(tx, context, input);
      redact?.(output);
      const entry = dryRun ? null : changeEntry(context, operation, input, output, tx.auditContext);
      changes = entry !== null;
      if (entry) context.audit.changed(tx, entry);
      const answer: Answer = { output, status: statusOf(operation, output), replayed: false };
      if (!key) return answer;
      const text = JSON.stringify(output);
      storeAnswer(tx, key, { status: answer.status, body: text }, context.now);
      return { ...answer, text };
    },
    { rollback: dryRun ?? false, throwMerged: true },
  ).finally(() => endWrite(context.clock, open));
  const answer = await done.catch((error: unknown): Answer => {
    if (!(error instanceof Replay)) throw error;
    const { status: stored, body } = error.answer;
    const output: unknown = JSON.parse(body);
    const status = stored === 201 || stored === 202 ? stored : 200;
    if (redact === null) return { output, status, text: body, replayed: true };
    // What a partner may see, and what is personal, may have changed since it was stored.
    redact(output);
    return { output, status, replayed: true };
  });
  // The write is committed; if the directory cannot be reloaded now, it will be within 15 seconds.
  if (operation.changesAccess && !dryRun) await context.directory.changed().catch(() => undefined);
  // A dry run, a replay or a write that changed nothing still shows the record.
  if (context.personalData && (answer.replayed || !changes)) await noteRead(operation, context, input, answer.output);
  return answer;
}

/**
 * Runs a write as a part of a transaction that does more: audited, but without a key of its own. The caller answers for the scope, and
 * begins anew with the ids of today where `IdsMerged` says so.
 */
export async function callWithin(
  tx: Transaction,
  operation: AnyWrite,
  context: Context,
  input: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const output = await operation.run(tx, context, input as never); // made of what its schema has parsed
  const entry = changeEntry(context, operation, input, output, tx.auditContext);
  if (entry) context.audit.changed(tx, entry);
  return output;
}

function statusOf(operation: AnyWrite, output: unknown): 200 | 201 | 202 {
  if (operation.waits?.(output as never)) return 202; // its own output
  return operation.created?.(output as never) ? 201 : 200; // likewise
}

function both(first: Mask | null, second: Mask | null): Mask | null {
  if (!first || !second) return first ?? second;
  return (output) => {
    first(output);
    second(output);
  };
}

/**
 * Compiles the masks and the audit of every output. Called when the service is built, so that a schema in which something could
 * not be masked stops it before it serves anybody.
 *
 * @throws Error naming the operation
 */
export function compileOutputs(operations: Iterable<Operation>): void {
  for (const operation of operations) {
    try {
      redactor(operation.output);
      witness(operation.output);
      if (operation.partners) maskForScoped(operation, { scopedTo: { kind: 'partner', id: '' } }, none);
      if (operation.selfService) maskForScoped(operation, { scopedTo: { kind: 'customer', id: '' } }, none);
    } catch (cause) {
      throw new Error(`The output of ${operation.name} cannot be masked`, { cause });
    }
  }
}

const none: readonly string[] = [];

/** Nullable members that the calling partner may see; none for other callers, who need no list. */
export function fieldsOf({ principal, directory }: Pick<Context, 'principal' | 'directory'>): readonly string[] {
  const { scopedTo } = principal;
  return scopedTo?.kind === 'partner' ? (directory.partner(scopedTo.id)?.fields ?? none) : none;
}

export function authorize(
  operation: Pick<Operation, 'scope' | 'partners' | 'selfService'>,
  { principal }: Pick<Context, 'principal'>,
): void {
  requireScope({ principal }, operation.scope);
  const { scopedTo } = principal;
  if (scopedTo === null || operation[scopedTo.kind === 'partner' ? 'partners' : 'selfService']) return;
  const whose = scopedTo.kind === 'partner' ? 'a partner' : 'one customer';
  throw new Problem('not_supported', `This is not available to tokens of ${whose}, whatever their scopes.`);
}

export function requireScope(context: Pick<Context, 'principal'>, scope: string): void {
  if (context.principal.has(scope)) return;
  throw new Problem('insufficient_scope', `This needs the scope ${scope}, which your token does not have.`, {
    extra: { scope },
    headers: { 'WWW-Authenticate': `Bearer realm="rapport", error="insufficient_scope", scope="${scope}"` },
  });
}

function parse(operation: Operation, context: Context, raw: unknown): never {
  const parsed = operation.input.safeParse(withoutNulls(operation.input, raw), reportInput);
  if (!parsed.success) throw inputProblem(parsed.error);
  const input = parsed.data as Record<string, unknown>; // an object schema gives an object
  if (!context.personalData) {
    const given = personalSelectors(operation).find((name) => input[name] !== undefined);
    const parameter = given ?? (ordersByPersonal(operation, input['sort']) ? 'sort' : undefined);
    if (parameter !== undefined) throw needsPersonalScope(parameter);
  }
  refuseMasked(operation, context.principal, fieldsOf(context), input);
  return input as never; // checked by the schema; see Operation
}

function needsPersonalScope(parameter: string): Problem {
  return new Problem(
    'insufficient_scope',
    `${parameter} selects by personal data, which needs the scope ${personalScope}.`,
    {
      extra: { scope: personalScope },
      errors: [{ parameter, code: 'insufficient_scope', message: `Needs the scope ${personalScope}.` }],
      headers: {
        'WWW-Authenticate': `Bearer realm="rapport", error="insufficient_scope", scope="${personalScope}"`,
      },
    },
  );
}
