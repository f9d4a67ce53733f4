import {
  connection,
  mutation,
  type Printed,
  type PrintedList,
  type PrintedMutation,
  type Resolver,
  record,
} from '../platform/graphql/field.ts';
import type { operationsOf } from './operations.ts';

type Operations = Partial<ReturnType<typeof operationsOf>>;

/** What the printed schema says about some of the fields. */
interface PrintedFields {
  get?: Printed;
  list?: PrintedList;
  batch?: PrintedMutation;
}

/** The fields of a kind's operations; those that are left out have none. Fields are called like their operations. */
export function recordResolvers(
  name: string,
  { get, list, create, update, upsert, remove, batch }: Operations,
  printed: PrintedFields = {},
): { Query: Record<string, Resolver>; Mutation: Record<string, Resolver> } {
  return {
    Query: {
      ...(get && { [name]: record(get, printed.get) }),
      ...(list && { [fieldOf(list.name, 'list')]: connection(list, printed.list) }),
    },
    Mutation: {
      ...(create && { [create.name]: mutation(create, name) }),
      ...(update && { [update.name]: mutation(update, name) }),
      ...(upsert && { [upsert.name]: mutation(upsert, name) }),
      ...(remove && { [remove.name]: mutation(remove) }),
      ...(batch && { [batch.name]: mutation(batch, undefined, printed.batch) }),
    },
  };
}

/** `listReturns` → `returns` */
function fieldOf(operation: string, verb: string): string {
  const rest = operation.slice(verb.length);
  return rest.charAt(0).toLowerCase() + rest.slice(1);
}
