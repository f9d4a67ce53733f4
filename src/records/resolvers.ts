import { connection, mutation, type Resolver, record } from '../platform/graphql/field.ts';
import type { operationsOf } from './operations.ts';

type Operations = Partial<ReturnType<typeof operationsOf>>;

/** The fields of a kind's operations; those that are left out have none. Fields are called like their operations. */
export function recordResolvers(
  name: string,
  { get, list, create, update, upsert, remove, batch }: Operations,
): { Query: Record<string, Resolver>; Mutation: Record<string, Resolver> } {
  return {
    Query: {
      ...(get && { [name]: record(get) }),
      ...(list && { [fieldOf(list.name, 'list')]: connection(list) }),
    },
    Mutation: {
      ...(create && { [create.name]: mutation(create, name) }),
      ...(update && { [update.name]: mutation(update, name) }),
      ...(upsert && { [upsert.name]: mutation(upsert, name) }),
      ...(remove && { [remove.name]: mutation(remove) }),
      ...(batch && { [batch.name]: mutation(batch) }),
    },
  };
}

/** `listReturns` → `returns` */
function fieldOf(operation: string, verb: string): string {
  const rest = operation.slice(verb.length);
  return rest.charAt(0).toLowerCase() + rest.slice(1);
}
