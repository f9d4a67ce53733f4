import t from 'tap';
import { breakingGraphqlChanges, breakingOpenApiChanges } from '../../scripts/contract-changes.ts';
import { readSdl } from '../../src/app.ts';
import { routes } from '../../src/features.ts';
import { guide } from '../../src/guide.ts';
import { openApiDocument } from '../../src/platform/http/openapi.ts';

/** What `npm run check:breaking` finds when the contract is changed; the released one is the present one. */
type Json = Record<string, any>;
const document = JSON.stringify(openApiDocument(routes, guide));

function afterRest(change: (document: Json) => void): string[] {
  const changed = JSON.parse(document);
  change(changed);
  return breakingOpenApiChanges(JSON.parse(document), changed);
}

t.test('REST: what breaks clients is found', async (t) => {
  t.same(
    afterRest(() => {}),
    [],
  );
  const plants: [string, (document: Json) => void][] = [
    ['GET /v1/refunds/{id} was removed', ({ paths }) => delete paths['/v1/refunds/{id}'].get],
    [
      'GET /v1/refunds/{id}: x-scope orders:read is orders:all',
      ({ paths }) => {
        paths['/v1/refunds/{id}'].get['x-scope'] = 'orders:all';
      },
    ],
    [
      'GET /v1/refunds/{id}: parameter verbose (query) is required',
      ({ paths }) => {
        paths['/v1/refunds/{id}'].get.parameters.push({ name: 'verbose', in: 'query', required: true, schema: {} });
      },
    ],
    [
      'GET /v1/orders: parameter status (query) was removed',
      ({ paths }) => {
        const { get } = paths['/v1/orders'];
        get.parameters = get.parameters.filter(
          (one: Json) => one.name !== 'status' && one.$ref !== '#/components/parameters/status',
        );
      },
    ],
    [
      'GET /v1/refunds/{id}: the answer 200 was removed',
      ({ paths }) => delete paths['/v1/refunds/{id}'].get.responses[200],
    ],
    [
      'OrderInput (input).channel was removed',
      ({ components }) => delete components.schemas.OrderInput.properties.channel,
    ],
    [
      'OrderInput (input).channel is required',
      ({ components }) => components.schemas.OrderInput.required.push('channel'),
    ],
    [
      'OrderInput (input).channel: the type string or null is string',
      ({ components }) => {
        components.schemas.OrderInput.properties.channel.type = 'string';
      },
    ],
    [
      'OrderInput (input).channel: maxLength is 50',
      ({ components }) => {
        components.schemas.OrderInput.properties.channel.maxLength = 50;
      },
    ],
    [
      'PaymentStatus (input): paid is no longer taken',
      ({ components }) => {
        const { PaymentStatus: status } = components.schemas;
        status.enum = status.enum.filter((word: string) => word !== 'paid');
      },
    ],
    ['Refund (output).amount was removed', ({ components }) => delete components.schemas.Refund.properties.amount],
    [
      'Refund (output).amount is no longer always there',
      ({ components }) => {
        const { Refund: refund } = components.schemas;
        refund.required = refund.required.filter((name: string) => name !== 'amount');
      },
    ],
    [
      'Refund (output).amount: the type integer is integer or null',
      ({ components }) => {
        components.schemas.Refund.properties.amount.type = ['integer', 'null'];
      },
    ],
  ];
  for (const [expected, plant] of plants) t.ok(afterRest(plant).includes(expected), expected);
});

t.test('REST: what breaks nobody is not reported', async (t) => {
  const harmless: ((document: Json) => void)[] = [
    ({ paths }) => {
      paths['/v1/parcels'] = paths['/v1/orders'];
    },
    ({ paths }) => paths['/v1/orders'].get.parameters.push({ name: 'size', in: 'query', schema: { type: 'string' } }),
    ({ components }) => {
      components.schemas.OrderInput.properties.size = { type: 'string' };
    },
    ({ components }) => {
      components.schemas.Refund.properties.size = { type: 'string' };
    },
    ({ components }) => {
      components.schemas.OrderInput.properties.channel.maxLength = 500;
    },
    ({ components }) => components.schemas.PaymentStatus.enum.push('later'),
    ({ components }) => {
      components.schemas.Refund.description = 'Other words.';
    },
  ];
  for (const change of harmless) t.same(afterRest(change), []);
});

async function afterGraphql(from: string, to: string): Promise<string[]> {
  const sdl = readSdl();
  t.ok(sdl.includes(from), from);
  return breakingGraphqlChanges(sdl, sdl.replace(from, to));
}

t.test('GraphQL: what breaks clients is found', async (t) => {
  t.same(await afterGraphql('type Refund {\n', 'type Refund {\n  size: Int\n'), [], 'a new field breaks nobody');
  const plants: [RegExp, string, string][] = [
    [
      /Field 'refund' was removed from object type 'Query'/,
      '  refund(id: ID, reference: ReferenceInput): Refund\n',
      '  repaid(id: ID, reference: ReferenceInput): Refund\n',
    ],
    [/type from 'Refund!' to 'Refund'/, '  refund: Refund!\n', '  refund: Refund\n'],
    [
      /Argument 'size: Int!' added to field 'Query.refund'/,
      '  refund(id: ID, reference: ReferenceInput): Refund\n',
      '  refund(id: ID, reference: ReferenceInput, size: Int!): Refund\n',
    ],
    [/Enum value 'PAID' was removed from enum 'PaymentStatus'/, '  PARTIALLY_PAID\n  PAID\n', '  PARTIALLY_PAID\n'],
    [/Input field 'size' of type 'Int!' was added/, 'input RefundInput {\n', 'input RefundInput {\n  size: Int!\n'],
  ];
  for (const [expected, from, to] of plants) {
    const found = await afterGraphql(from, to);
    t.match(found.join('\n'), expected);
  }
});
