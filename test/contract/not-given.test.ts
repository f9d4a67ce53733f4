import t from 'tap';
import { z } from 'zod';
import { resolvers, routes } from '../../src/features.ts';
import { batchItem } from '../../src/platform/batch-items.ts';
import { operationsOf } from '../../src/platform/graphql/field.ts';
import { withoutNulls } from '../../src/platform/not-given.ts';
import { elementOf, isNullable, membersOf, type Schema } from '../../src/records/walk.ts';

const operations = new Set([
  ...routes.map(({ operation }) => operation),
  ...resolvers.flatMap((types) =>
    Object.values(types).flatMap((fields) => Object.values(fields).flatMap((resolver) => operationsOf(resolver))),
  ),
]);

/** Every place of an optional member that does not take null itself, with the schema of its object. */
function places(schema: Schema, path: (string | 0)[] = []): { path: (string | 0)[]; holder: Schema }[] {
  const element = elementOf(schema);
  if (element) return places(element, [...path, 0]);
  return membersOf(schema).flatMap(([key, member]) => {
    const inside = places(member, [...path, key]);
    const isPlace = member._zod.optin === 'optional' && !isNullable(member);
    return isPlace ? [{ path: [...path, key], holder: schema }, ...inside] : inside;
  });
}

function documentWithNullAt([step, ...rest]: (string | 0)[]): unknown {
  if (step === undefined) return null;
  const inner = documentWithNullAt(rest);
  return step === 0 ? [inner] : { [step]: inner };
}

function refuses(schema: Schema, path: (string | 0)[]): boolean {
  const parsed = z.safeParse(schema, withoutNulls(schema, documentWithNullAt(path)));
  return parsed.error?.issues.some((issue) => issue.path.join() === path.join()) ?? false;
}

t.test(
  'no operation refuses null for an optional member, wherever it stands, except the members of a patch',
  async (t) => {
    let checked = 0;
    for (const { name, input } of operations) {
      const item = input.shape.body && batchItem(input.shape.body);
      for (const schema of item ? [input, item] : [input]) {
        for (const { path, holder } of places(schema)) {
          const ofPatch = z.globalRegistry.get(holder)?.id?.endsWith('Patch') ?? false;
          if (refuses(schema, path) !== ofPatch) t.fail(`${name}: null for ${path.join('.')}`);
          checked += 1;
        }
      }
    }
    t.ok(checked > 1_000, `${checked} places`);
  },
);

t.test('the body of every PATCH is called so, by which its nulls are known', async (t) => {
  for (const { method, url, operation } of routes) {
    const { body } = operation.input.shape;
    const isPatch = body ? (z.globalRegistry.get(body)?.id?.endsWith('Patch') ?? false) : false;
    t.equal(isPatch, method === 'PATCH', `${method} ${url}`);
  }
});

t.test('what is free JSON keeps its nulls', async (t) => {
  const schema = z.strictObject({ free: z.record(z.string(), z.unknown()), list: z.array(z.unknown()).optional() });
  const value = { free: { a: null, b: [null, { c: null }] }, list: [null] };
  t.same(withoutNulls(schema, structuredClone(value)), value);
});
