import { type DocumentNode, Kind, parse, print, validate } from 'graphql';
import t from 'tap';
import { z } from 'zod';
import { readSdl } from '../../src/app.ts';
import { resolvers } from '../../src/features.ts';
import { connection, field, mutation, type Resolvers } from '../../src/platform/graphql/field.ts';
import { createSchema } from '../../src/platform/graphql/schema.ts';
import { readOperation, writeOperation, writeParameters } from '../../src/platform/operation.ts';
import { pageOf, pageParameters, sortParameter } from '../../src/platform/page.ts';
import { printSdl } from '../../src/records/sdl.ts';

const parcel = z
  .strictObject({
    id: z.uuid(),
    weight: z.number().nullable().meta({ description: 'In kilograms.' }),
    size: z.enum(['small', 'large']).meta({ id: 'ParcelSize', description: 'small: fits a letter box.' }),
    pieces: z.int().max(100).min(1),
    cents: z.int(),
    to: z.strictObject({ street: z.string() }).meta({ id: 'ParcelAddress' }),
  })
  .meta({ id: 'Parcel', description: 'What is sent.' });

function reads(output: z.ZodType, input: z.ZodRawShape = {}): Resolvers {
  const operation = readOperation({
    name: 'readParcel',
    scope: 'parcels:read',
    partners: false,
    selfService: false,
    summary: 'Read a parcel',
    input: z.strictObject(input),
    output,
    run: async () => null,
  });
  return { Query: { parcel: field(operation) } };
}

const listParcels = readOperation({
  name: 'listParcels',
  scope: 'parcels:read',
  partners: false,
  selfService: false,
  summary: 'List parcels',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['sentAt'], '-sentAt'),
    size: parcel.shape.size.optional(),
  }),
  output: pageOf(parcel),
  run: async () => ({ data: [], page: { next: null, hasMore: false } }),
});

const sendParcel = writeOperation({
  name: 'sendParcel',
  scope: 'parcels:write',
  partners: false,
  selfService: false,
  summary: 'Send a parcel',
  input: z.strictObject({
    ...writeParameters,
    source: z.string(),
    externalId: z.string(),
    body: parcel
      .omit({ id: true })
      .partial({ cents: true })
      .meta({ id: 'ParcelInput', example: { size: 'small' } }),
  }),
  output: parcel.extend({ created: z.boolean() }).meta({ id: 'WrittenParcel' }),
  idempotency: 'accepted',
  run: async () => {
    throw new Error('not run');
  },
});

t.test('types, arguments, lists and payloads follow from the operations', async (t) => {
  const sdl = printSdl([
    {
      Query: { parcels: connection(listParcels, { cost: 5 }) },
      Mutation: { sendParcel: mutation(sendParcel, 'parcel') },
    },
  ]);
  const document = parse(sdl, { noLocation: true });
  t.equal(fieldOf(document, 'Query', 'parcels'), 'ParcelConnection @cost(weight: 5)');
  t.equal(fieldOf(document, 'Query', 'parcels(sort)'), 'ParcelSort');
  t.equal(fieldOf(document, 'Query', 'parcels(first)'), 'Int');
  t.equal(fieldOf(document, 'Query', 'parcels(size)'), 'ParcelSize');
  t.equal(fieldOf(document, 'Query', 'parcels(count)'), undefined);
  t.equal(fieldOf(document, 'ParcelConnection', 'totalCount'), 'SafeInt! @cost(weight: 25)');
  t.equal(fieldOf(document, 'Parcel', 'weight'), 'Float');
  t.equal(fieldOf(document, 'Parcel', 'pieces'), 'Int!');
  t.equal(fieldOf(document, 'Parcel', 'cents'), 'SafeInt!');
  t.equal(fieldOf(document, 'Parcel', 'to'), 'ParcelAddress! @cost(weight: 0)');
  t.equal(fieldOf(document, 'Mutation', 'sendParcel'), 'ParcelPayload @cost(weight: 10)');
  t.equal(fieldOf(document, 'Mutation', 'sendParcel(reference)'), 'ReferenceInput!');
  t.equal(fieldOf(document, 'Mutation', 'sendParcel(input)'), 'ParcelInput!');
  t.equal(fieldOf(document, 'ParcelPayload', 'parcel'), 'Parcel!');
  t.equal(fieldOf(document, 'ParcelPayload', 'created'), 'Boolean!');
  t.equal(fieldOf(document, 'Parcel', 'created'), undefined, 'is of the payload, not of the record');
  t.equal(fieldOf(document, 'ParcelInput', 'cents'), 'SafeInt');
  t.equal(fieldOf(document, 'ParcelInput', 'to'), 'ParcelAddressInput!', 'gives way to the type');
  t.match(sdl, /"Fits a letter box\."\n {2}SMALL/, 'what a word means stands at the word');
  t.match(sdl, /Example: `\{ size: SMALL \}`/);
  t.match(sdl, /List parcels\.\n\n {2}Needs the scope `parcels:read`\./);
});

function fieldOf(document: DocumentNode, type: string, name: string): string | undefined {
  const [, member = '', argument] = /^(\w+)(?:\((\w+)\))?$/.exec(name) ?? [];
  for (const node of document.definitions) {
    if (node.kind !== Kind.OBJECT_TYPE_DEFINITION && node.kind !== Kind.INPUT_OBJECT_TYPE_DEFINITION) continue;
    if (node.name.value !== type) continue;
    const found = node.fields?.find((one) => one.name.value === member);
    if (!found) return undefined;
    if (argument === undefined) return [found.type, ...(found.directives ?? [])].map((part) => print(part)).join(' ');
    const arguments_ = found.kind === Kind.FIELD_DEFINITION ? (found.arguments ?? []) : [];
    const given = arguments_.find((one) => one.name.value === argument);
    return given && print(given.type);
  }
  return undefined;
}

t.test('what cannot be printed is refused', async (t) => {
  t.throws(() => printSdl([{ Query: { parcel: () => null } }]), /Query\.parcel is not made from an operation/);
  t.throws(() => printSdl([reads(z.strictObject({ a: z.string() }))]), /An object without an id: a/);
  const either = z.strictObject({ a: z.union([z.string(), z.int()]) }).meta({ id: 'Either' });
  t.throws(() => printSdl([reads(either)]), /EitherA: there is no scalar for a union/);
  const camel = z.strictObject({ a: z.enum(['oneWord']) }).meta({ id: 'Camel' });
  t.throws(() => printSdl([reads(camel)]), /CamelA\.ONEWORD would not be read as oneWord/);
  const other = z.strictObject({ id: z.uuid() }).meta({ id: 'ListedParcel' });
  t.throws(
    () => printSdl([reads(z.strictObject({ one: parcel, other }).meta({ id: 'Both' }))]),
    /Parcel stands for two schemas: one has no weight/,
  );
  const changed = z.strictObject({ id: z.string() }).meta({ id: 'ListedParcel' });
  t.throws(
    () => printSdl([reads(z.strictObject({ one: parcel, changed }).meta({ id: 'Both' }))]),
    /Parcel\.id is ID! .* and String!/,
  );
});

t.test('examples are valid', async (t) => {
  const schema = createSchema(readSdl(), resolvers);
  let seen = 0;
  for (const node of parse(readSdl()).definitions) {
    if (!('name' in node) || !node.name) continue;
    const type = node.name.value;
    const fields = 'fields' in node ? (node.fields ?? []) : [];
    for (const [place, text] of [
      [type, node],
      ...fields.map((one) => [`${type}.${one.name.value}`, one] as const),
    ] as const) {
      const description = 'description' in text ? (text.description?.value ?? '') : '';
      const [, example] = /^Example: `(.*)`$/m.exec(description) ?? [];
      if (example === undefined) continue;
      seen += 1;
      const document = place === type ? `query ($input: ${type} = ${example}) { __typename }` : example;
      const errors = validate(schema, parse(document)).filter(({ message }) => !message.includes('is never used'));
      t.same(
        errors.map(({ message }) => message),
        [],
        place,
      );
    }
  }
  t.ok(seen > 60, `${seen} examples`);
});
