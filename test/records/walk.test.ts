import t from 'tap';
import { z } from 'zod';
import { namesCustomers, witness } from '../../src/platform/audit.ts';
import { maskableFields, maskedForScoped, maskForScoped } from '../../src/platform/masked-fields.ts';
import { compileOutputs, readOperation } from '../../src/platform/operation.ts';
import { personal, redactor } from '../../src/platform/personal.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { elementOf, isNullable, membersOf } from '../../src/records/walk.ts';

/** Whatever wraps a mark, it is seen; where it could not be heeded, the service does not start. */

const secret = 'SECRET';

/** A masked value, by each way zod has to wrap one: the schema, a value, and what is left of it. */
const wrapped: Record<string, [schema: z.ZodType, value: unknown, masked: unknown]> = {
  itself: [personal(z.string()), secret, null],
  meta: [personal(z.string()).meta({ description: 'a clone' }), secret, null],
  describe: [personal(z.string()).describe('a clone'), secret, null],
  refine: [personal(z.string()).refine(() => true), secret, null],
  'meta twice': [personal(z.string()).meta({ title: 'one' }).meta({ title: 'two' }), secret, null],
  optional: [personal(z.string()).optional(), secret, null],
  exactOptional: [z.exactOptional(personal(z.string())), secret, null],
  nullable: [personal(z.string()).nullable(), secret, null],
  nonoptional: [z.nonoptional(personal(z.string()).optional()), secret, null],
  default: [personal(z.string()).default('x'), secret, null],
  prefault: [personal(z.string()).prefault('x'), secret, null],
  catch: [personal(z.string()).catch('x'), secret, null],
  readonly: [personal(z.string()).readonly(), secret, null],
  lazy: [z.lazy(() => personal(z.string())), secret, null],
  transform: [personal(z.string()).transform((text) => text), secret, null],
  pipe: [z.string().nullable().pipe(personal(z.string())), secret, null],
  preprocess: [z.preprocess((text) => text, personal(z.string())), secret, null],
  codec: [
    z.codec(z.string(), personal(z.string()), { decode: (text): string | null => text, encode: (text) => text ?? '' }),
    secret,
    null,
  ],
  intersection: [z.intersection(personal(z.string()), z.string()), secret, null],
  union: [z.union([z.number(), personal(z.string())]), secret, null],
  'an object': [
    z.object({ name: personal(z.string()), id: z.string() }),
    { name: secret, id: '1' },
    { name: null, id: '1' },
  ],
  'an object of others': [z.object({}).catchall(personal(z.string())), { any: secret }, { any: null }],
  'wrapped objects': [
    z
      .lazy(() =>
        z
          .object({ name: personal(z.string()) })
          .readonly()
          .nullable()
          .default(null),
      )
      .optional(),
    { name: secret },
    { name: null },
  ],
  'objects that meet': [
    z.intersection(z.object({ name: personal(z.string()) }), z.object({ nick: personal(z.string()) })),
    { name: secret, nick: secret },
    { name: null, nick: null },
  ],
  'objects that are extended, picked and partial': [
    z
      .object({ name: personal(z.string()), no: z.string() })
      .pick({ name: true })
      .extend({ id: z.string() })
      .partial(),
    { name: secret, id: '1' },
    { name: null, id: '1' },
  ],
  'an array': [z.array(personal(z.string())), [secret, secret], [null, null]],
  'an array of objects': [z.array(z.object({ name: personal(z.string()) })), [{ name: secret }], [{ name: null }]],
  'a tuple': [z.tuple([z.string(), personal(z.string())]), ['a', secret], ['a', null]],
  'the rest of a tuple': [z.tuple([z.string()], personal(z.string())), ['a', secret, secret], ['a', null, null]],
  'a record': [z.record(z.string(), personal(z.string())), { a: secret }, { a: null }],
  'a record of objects': [
    z.record(z.string(), z.object({ name: personal(z.string()) })),
    { a: { name: secret } },
    { a: { name: null } },
  ],
  'what is unknown': [personal(z.unknown()), { deep: [secret] }, null],
  'what is any': [personal(z.any()), [secret], null],
  'a whole record': [personal(z.record(z.string(), z.unknown())), { a: secret }, null],
};

t.test('a personal value is masked and seen by the audit, whatever wraps it', async (t) => {
  for (const [name, [schema, value, masked]] of Object.entries(wrapped)) {
    const output = z.object({ member: schema, customerId: z.string() });
    const answer = { member: structuredClone(value), customerId: '1' };
    const seen = { customerIds: new Set<string>(), personal: false };
    witness(output)?.(answer, seen);
    t.strictSame(seen, { customerIds: new Set(['1']), personal: true }, `${name} is seen`);
    redactor(output)?.(answer);
    t.strictSame(answer, { member: masked, customerId: '1' }, `${name} is masked`);
    const unseen = { customerIds: new Set<string>(), personal: false };
    witness(output)?.(answer, unseen);
    t.equal(unseen.personal, false, `${name}, masked, shows nothing`);
  }
});

t.test('schemas with nothing to mask compile to nothing', async (t) => {
  const plain: Record<string, z.ZodType> = {
    string: z.string(),
    uuid: z.uuid(),
    number: z.number(),
    int: z.int(),
    bigint: z.bigint(),
    boolean: z.boolean(),
    date: z.date(),
    null: z.null(),
    undefined: z.undefined(),
    void: z.void(),
    never: z.never(),
    nan: z.nan(),
    any: z.any(),
    unknown: z.unknown(),
    enum: z.enum(['a']),
    literal: z.literal('a'),
    'template literal': z.templateLiteral(['a', z.string()]),
    custom: z.custom<string>(),
    transform: z.transform((value) => value),
    union: z.union([z.string(), z.object({ id: z.string() })]),
    'discriminated union': z.discriminatedUnion('kind', [z.object({ kind: z.literal('a') })]),
    record: z.record(z.string(), z.string()),
    tuple: z.tuple([z.string()], z.number()),
    stringbool: z.stringbool(),
  };
  for (const [name, schema] of Object.entries(plain)) {
    t.equal(redactor(z.object({ member: schema })), null, name);
    t.equal(witness(z.object({ member: schema })), null, name);
  }
});

t.test('what could not be masked for certain is refused', async (t) => {
  const inner = z.object({ name: personal(z.string()), kind: z.literal('a') });
  const refused: Record<string, z.ZodType> = {
    'an object in a union': z.union([inner, z.string()]),
    'an object in a discriminated union': z.discriminatedUnion('kind', [inner, z.object({ kind: z.literal('b') })]),
    'elements in a union': z.union([z.array(personal(z.string())), z.string()]),
    'an object before a transform': inner.transform(({ name }) => name),
    'the keys of a record': z.record(personal(z.string()) as never, z.string()), // zod's types refuse it as well
    map: z.map(z.string(), personal(z.string())),
    set: z.set(personal(z.string())),
    promise: z.promise(personal(z.string())),
    function: z.function(),
    symbol: z.symbol(),
    file: z.file(),
    success: z.success(personal(z.string())),
  };
  for (const [name, member] of Object.entries(refused)) {
    t.throws(() => redactor(z.object({ member })), /cannot be/, name);
    const again = z.object({ member });
    for (const time of ['first', 'second']) t.throws(() => redactor(again), /cannot be/, `${name}, the ${time} time`);
    t.throws(() => redactor(z.object({ member: z.array(member.optional()) })), /cannot be/, `${name}, deeper`);
  }
  t.throws(() => redactor(personal(z.string())), /whole answer/, 'a whole answer');
});

t.test('a node that the walker does not know is refused, and the service does not start with it', async (t) => {
  // The compiler holds the walker to zod's own list of nodes; this is one that it cannot know.
  const strange = z.string().clone();
  strange._zod.def = { ...strange._zod.def, type: 'hologram' as 'string' }; // a later zod's
  t.throws(() => redactor(z.object({ member: strange })), /does not know schemas of type hologram/);
  const operation = readOperation({
    name: 'getHologram',
    scope: 'customers:read',
    partners: false,
    selfService: false,
    summary: '',
    input: z.strictObject({}),
    output: z.object({ member: strange.nullable() }),
    run: () => Promise.resolve({ member: null }),
  });
  t.throws(() => compileOutputs([operation]), { message: /getHologram/, cause: { message: /hologram/ } });
});

t.test('what holds itself is masked to the end', async (t) => {
  const person: z.ZodType = z.object({
    name: personal(z.string()),
    get friends() {
      return z.array(person).nullable();
    },
  });
  const ada = { name: secret, friends: [{ name: secret, friends: [{ name: secret, friends: null }] }] };
  redactor(person)?.(ada);
  t.notMatch(JSON.stringify(ada), secret);
});

t.test('partners and customers: members are masked through wrappers as well', async (t) => {
  const deep = z.object({ city: z.string().nullable() });
  const output = z.object({
    data: z.array(
      z
        .object({
          note: z.string().nullable().default(null).readonly(),
          other: maskedForScoped(z.string().nullable()).meta({ description: 'a clone' }),
          deep: z.lazy(() => deep),
          many: z.record(z.string(), deep),
          plain: z.string(),
        })
        .meta({ id: 'WalkedNote' }),
    ),
  });
  const operation = { name: 'notes', scope: 'notes:read', partners: true, input: z.object({}), output };
  t.strictSame(
    maskableFields([operation]).map(({ name }) => name),
    ['WalkedNote.deep', 'WalkedNote.many', 'WalkedNote.note'],
  );
  const note = { note: secret, other: secret, deep: { city: secret }, many: { a: { city: secret } }, plain: 'p' };
  const cut = (kind: 'partner' | 'customer', fields: string[]) => {
    const answer = { data: [structuredClone(note)] };
    maskForScoped(operation, createPrincipal('app', ['*'], { kind, id: '1' }), fields)?.(answer);
    return answer.data[0];
  };
  t.strictSame(cut('partner', []), {
    note: null,
    other: null,
    deep: { city: null },
    many: { a: { city: null } },
    plain: 'p',
  });
  t.strictSame(cut('partner', ['WalkedNote.deep', 'WalkedNote.many', 'WalkedNote.note']), { ...note, other: null });
  t.strictSame(cut('customer', []), { ...note, other: null });
});

t.test('questions about schemas see through wrappers', async (t) => {
  const shape = z.lazy(() => z.object({ a: z.string() }).nullable().default(null));
  t.strictSame(
    membersOf(shape.optional()).map(([key]) => key),
    ['a'],
  );
  t.strictSame(membersOf(z.string()), []);
  t.equal(membersOf(elementOf(z.array(shape).readonly()) ?? z.string()).length, 1);
  t.equal(elementOf(z.string()), null);
  for (const one of [z.string().nullable().optional(), z.null(), z.literal(null), z.union([z.string(), z.null()])])
    t.equal(isNullable(one), true);
  for (const one of [z.string().optional(), z.unknown(), z.array(z.string().nullable())])
    t.equal(isNullable(one), false);
  t.equal(namesCustomers(z.object({ all: z.record(z.string(), z.object({ customerId: z.string() })) })), true);
  t.equal(namesCustomers(z.object({ id: z.string() })), false);
});
