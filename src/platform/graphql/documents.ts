import {
  coerceInputValue,
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  isInputType,
  isNonNullType,
  Kind,
  type OperationDefinitionNode,
  parse,
  specifiedRules,
  typeFromAST,
  validate,
} from 'graphql';
import type { FieldError } from '../errors.ts';
import { RequestRefused, refuse, refuseDocument } from './errors.ts';
import { limits, type Measured, measure, type Variables } from './limits.ts';
import { type Planned, plannable } from './plan.ts';

/** An operation of a document, ready to be run. */
export interface Runnable extends Measured {
  planned: Planned;
}

/** By their names. */
type MeasuredOperations = ReadonlyMap<string, Runnable>;

export interface Documents {
  /**
   * The operation a request means, checked, measured and remembered by the text of its document.
   *
   * @throws RequestRefused when the text is no document, is invalid or beyond the limits, or names no operation
   */
  find(source: string, operationName: string | null): Runnable;
  /** What is wrong with the variables of an operation, or null: as this door words it, with a pointer for each fault. */
  refuseVariables(source: string, operationName: string | null, variables: Variables): RequestRefused | null;
}

/** As many as the executor remembers; good and bad ones apart, so that bad ones do not displace the good. */
export const rememberedDocuments = 256;

export function knownDocuments(schema: GraphQLSchema): Documents {
  const good = new Map<string, MeasuredOperations>();
  const bad = new Map<string, RequestRefused>();

  function look(source: string): MeasuredOperations {
    const known = good.get(source);
    if (known) return known;
    const refused = bad.get(source);
    if (refused) throw refused;
    try {
      const made = check(schema, source);
      remember(good, source, made);
      return made;
    } catch (error) {
      if (error instanceof RequestRefused) remember(bad, source, error);
      throw error;
    }
  }

  return {
    find: (source, operationName) => pick(look(source), operationName),
    refuseVariables(source, operationName, variables) {
      const operation = parseDocument(source).definitions.find(
        (node): node is OperationDefinitionNode =>
          node.kind === Kind.OPERATION_DEFINITION && (operationName === null || node.name?.value === operationName),
      );
      return operation ? checkVariables(schema, operation, variables) : null;
    },
  };
}

function remember<T>(cache: Map<string, T>, key: string, value: T): void {
  const oldest = cache.size < rememberedDocuments ? undefined : cache.keys().next().value;
  if (oldest !== undefined) cache.delete(oldest);
  cache.set(key, value);
}

function parseDocument(source: string): DocumentNode {
  try {
    return parse(source, { maxTokens: limits.tokens });
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    if (/more that \d+ tokens/.test(error.message)) {
      throw refuse('graphql_query_too_complex', `The query has more than ${limits.tokens} tokens.`, [
        { parameter: 'query', code: 'too_much_tokens', message: `More than ${limits.tokens}.` },
      ]);
    }
    throw refuseDocument('graphql_syntax_error', [error]);
  }
}

/** Limits come before validation, whose time grows with the square of some sizes. */
function check(schema: GraphQLSchema, source: string): MeasuredOperations {
  if (source.length > limits.characters) {
    throw refuse('graphql_query_too_complex', `The query is longer than ${limits.characters} characters.`, [
      { parameter: 'query', code: 'too_much_characters', message: `More than ${limits.characters}.` },
    ]);
  }
  const document = parseDocument(source);
  const nodes = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  const fragments = Object.fromEntries(
    document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
  );
  const operations = new Map(
    nodes.map((node): [string, Runnable] => [
      node.name?.value ?? '',
      { ...measure(schema, document, node), planned: plannable(node, fragments) },
    ]),
  );
  const errors = validate(schema, document, specifiedRules, { maxErrors: 20 });
  if (errors.length > 0) throw refuseDocument('graphql_validation_failed', errors);
  for (const node of nodes) {
    if (schema.getRootType(node.operation)) continue;
    throw refuse('graphql_validation_failed', `There are no ${node.operation}s here.`);
  }
  return operations;
}

function pick(operations: MeasuredOperations, name: string | null): Runnable {
  const [only, ...more] = operations.values();
  if (name === null && only && more.length === 0) return only;
  const found = name === null ? undefined : operations.get(name);
  if (found) return found;
  const message =
    name === null
      ? 'The document has several operations: say which with operationName.'
      : 'There is no such operation.';
  throw refuse('graphql_validation_failed', message, [
    { parameter: 'operationName', code: name === null ? 'required' : 'unknown_operation', message },
  ]);
}

function checkVariables(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  variables: Variables,
): RequestRefused | null {
  const errors: FieldError[] = [];
  for (const { variable, type: typeNode, defaultValue } of operation.variableDefinitions ?? []) {
    const parameter = variable.name.value;
    const type = typeFromAST(schema, typeNode);
    if (!isInputType(type)) continue;
    const value = Object.hasOwn(variables, parameter) ? variables[parameter] : undefined;
    if (value === undefined) {
      if (isNonNullType(type) && !defaultValue) errors.push({ parameter, code: 'required', message: 'Required.' });
      continue;
    }
    coerceInputValue(value, type, (path, _value, error) => {
      const pointer = path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
      errors.push({
        parameter,
        ...(pointer !== '' && { pointer }),
        code: 'invalid_type',
        message: error.message,
      });
    });
  }
  const [first] = errors;
  if (!first) return null;
  return refuse(
    'graphql_variables_invalid',
    `Variable $${first.parameter}${first.pointer ?? ''}: ${first.message}`,
    errors.slice(0, 100),
  );
}
