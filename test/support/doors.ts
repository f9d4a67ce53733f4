import { type GraphQLField, getNamedType, isObjectType } from 'graphql';
import { readSdl } from '../../src/app.ts';
import { resolvers } from '../../src/features.ts';
import { operationsOf } from '../../src/platform/graphql/field.ts';
import { createSchema } from '../../src/platform/graphql/schema.ts';
import type { Operation } from '../../src/platform/operation.ts';
import type { Call } from './graphql-calls.ts';

/** A GraphQL field that goes through operations, and the shortest way to it. */
export interface Field extends Call {
  /** `Customer.orders` */
  name: string;
  type: string;
  operations: readonly Operation[];
  /** The fields of `path` that go through operations, outermost first, this one last. */
  guards: { depth: number; operations: readonly Operation[] }[];
}

/** Made of the SDL and the resolvers, as the service does at its start. */
export const schema = createSchema(readSdl(), resolvers);

const guarded = new Map<string, readonly Operation[]>(
  resolvers.flatMap((feature) =>
    Object.entries(feature).flatMap(([type, fields]) =>
      Object.entries(fields).map(([name, resolver]) => [`${type}.${name}`, operationsOf(resolver)] as const),
    ),
  ),
);

/** Every field that goes through an operation, of all types. @throws Error when one cannot be reached from a root */
export function guardedFields(): Field[] {
  const ways = waysToTypes();
  return [...guarded].flatMap(([name, operations]): Field[] => {
    if (operations.length === 0) return [];
    const [type = '', member = ''] = name.split('.');
    const way = ways.get(type);
    const owner = schema.getType(type);
    const field = isObjectType(owner) ? owner.getFields()[member] : undefined;
    if (!way || !field) throw new Error(`${name} cannot be reached`);
    const steps = [...way, { name, field }];
    return [
      {
        name,
        type,
        kind: steps[0]?.name.startsWith('Mutation.') ? 'mutation' : 'query',
        path: steps.map((step) => step.field),
        field,
        operations,
        guards: steps.flatMap((step, depth) => {
          const through = guarded.get(step.name) ?? [];
          return through.length > 0 ? [{ depth, operations: through }] : [];
        }),
      },
    ];
  });
}

interface Step {
  name: string;
  field: GraphQLField<unknown, unknown>;
}

/** The shortest ways from the roots, breadth first; by mutations where no query leads there. */
function waysToTypes(): Map<string, Step[]> {
  const ways = new Map<string, Step[]>([
    ['Query', []],
    ['Mutation', []],
  ]);
  const queue = ['Query'];
  const left = ['Mutation'];
  for (let type = queue.shift(); type !== undefined; type = queue.shift() ?? left.shift()) {
    const owner = schema.getType(type);
    if (!isObjectType(owner)) continue;
    for (const [name, field] of Object.entries(owner.getFields())) {
      const next = getNamedType(field.type);
      if (!isObjectType(next) || ways.has(next.name)) continue;
      ways.set(next.name, [...(ways.get(type) ?? []), { name: `${type}.${name}`, field }]);
      queue.push(next.name);
    }
  }
  return ways;
}
