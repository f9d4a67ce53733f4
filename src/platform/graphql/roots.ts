import {
  type ExecutionResult,
  type FieldNode,
  GraphQLError,
  type GraphQLField,
  type GraphQLSchema,
  isNonNullType,
  Kind,
  type OperationDefinitionNode,
} from 'graphql';
import { orProblem, Problem } from '../errors.ts';
import { authorize, type Context } from '../operation.ts';
import { operationsOf } from './field.ts';

/**
 * The result of an operation none of whose fields the token may call, before its variables are looked at: a token without
 * the scope of a batch has no use for its items being checked. null: something in it is permitted, or not plain to see.
 */
export function refusedRoots(
  schema: GraphQLSchema,
  { operation, selectionSet }: OperationDefinitionNode,
  context: Context,
): ExecutionResult | null {
  const fields = schema.getRootType(operation)?.getFields() ?? {};
  const refused = new Map<string, { nodes: FieldNode[]; refusal: Problem }>();
  let mayBeNull = true;
  for (const node of selectionSet.selections) {
    const field = node.kind === Kind.FIELD && node.directives?.length === 0 ? fields[node.name.value] : undefined;
    const refusal = field && refusalOf(field, context);
    if (node.kind !== Kind.FIELD || !refusal) return null;
    mayBeNull &&= !isNonNullType(field?.type);
    const name = responseName(node);
    const same = refused.get(name);
    if (same) same.nodes.push(node);
    else refused.set(name, { nodes: [node], refusal });
  }
  // Which of several errors is told, the executor decides.
  if (!mayBeNull && refused.size > 1) return null;
  return {
    errors: [...refused].map(
      ([name, { nodes, refusal }]) =>
        new GraphQLError(refusal.message, { nodes, path: [name], originalError: refusal }),
    ),
    data: mayBeNull ? Object.fromEntries([...refused.keys()].map((name) => [name, null])) : null,
  };
}

function responseName({ alias, name }: FieldNode): string {
  return alias?.value ?? name.value;
}

function refusalOf({ resolve }: GraphQLField<unknown, unknown>, context: Context): Problem | null {
  const [operation] = resolve ? operationsOf(resolve as Parameters<typeof operationsOf>[0]) : [];
  const checked = operation && orProblem(() => authorize(operation, context));
  return checked instanceof Problem ? checked : null;
}
