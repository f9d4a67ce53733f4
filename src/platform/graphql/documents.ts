import { type DocumentNode, GraphQLError, type GraphQLSchema, Kind, parse, specifiedRules, validate } from 'graphql';
import { RequestRefused, refuse, refuseDocument } from './errors.ts';
import { limits, type Measured, measure } from './limits.ts';
import { type Planned, plannable } from './plan.ts';
import { takingCoerced } from './variables.ts';

/** An operation of a document, ready to be run. */
export interface KnownOperation extends Measured {
  /** Its document, for variables that are coerced. */
  document: DocumentNode;
  planned: Planned;
}

/** The operations of a document by their names. */
type KnownOperations = ReadonlyMap<string, KnownOperation>;

export interface Documents {
  /**
   * The operation a request means, checked, measured and remembered by the text of its document.
   *
   * @throws RequestRefused when the text is no document, is invalid or beyond the limits, or names no operation
   */
  find(source: string, operationName: string | null): KnownOperation;
}

/** How many; good and bad ones apart, so that bad ones do not displace the good. */
const rememberedDocuments = 256;

export function knownDocuments(schema: GraphQLSchema): Documents {
  const good = new Map<string, KnownOperations>();
  const bad = new Map<string, RequestRefused>();

  function look(source: string): KnownOperations {
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
function check(schema: GraphQLSchema, source: string): KnownOperations {
  if (source.length > limits.characters) {
    throw refuse('graphql_query_too_complex', `The query is longer than ${limits.characters} characters.`, [
      { parameter: 'query', code: 'too_much_characters', message: `More than ${limits.characters}.` },
    ]);
  }
  const document = parseDocument(source);
  const executable = takingCoerced(document);
  const nodes = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  const fragments = Object.fromEntries(
    document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
  );
  const operations = new Map(
    nodes.map((node): [string, KnownOperation] => [
      node.name?.value ?? '',
      { ...measure(schema, document, node), document: executable, planned: plannable(node, fragments) },
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

function pick(operations: KnownOperations, name: string | null): KnownOperation {
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
