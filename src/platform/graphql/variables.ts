import {
  coerceInputValue,
  type DocumentNode,
  type GraphQLInputType,
  type GraphQLSchema,
  getNullableType,
  isInputType,
  isListType,
  isNonNullType,
  Kind,
  type OperationDefinitionNode,
  typeFromAST,
  type VariableDefinitionNode,
  valueFromAST,
} from 'graphql';
import { type FieldError, mostErrors } from '../errors.ts';
import { pointerOf } from '../faults.ts';
import { mapInSlices } from '../slices.ts';
import { type RequestRefused, refuse } from './errors.ts';
import type { Variables } from './limits.ts';

/**
 * The variables of an operation as its fields take them. graphql-js would coerce all at once; here the items of a list are
 * coerced in slices.
 *
 * @param options.suggest whether refusals say what may have been meant, which takes long for long texts
 * @throws RequestRefused graphql_variables_invalid
 */
export async function coerceVariables(
  schema: GraphQLSchema,
  { variableDefinitions = [] }: OperationDefinitionNode,
  given: Variables,
  { suggest }: { suggest: boolean },
): Promise<Record<string, unknown>> {
  const coerced: Record<string, unknown> = {};
  const faults = new Faults();
  try {
    for (const { variable, type: typeNode, defaultValue } of variableDefinitions) {
      const name = variable.name.value;
      const type = typeFromAST(schema, typeNode);
      if (!isInputType(type)) continue; // the document is valid
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      if (value !== undefined) {
        const onFault: OnFault = (path, message) => faults.add(name, path, message);
        coerced[name] = await coerce(value, type, (item, of, at) => coerceOne(item, of, at, onFault, suggest));
      } else if (defaultValue) coerced[name] = valueFromAST(defaultValue, type);
      else if (isNonNullType(type)) faults.missing(name);
    }
  } catch (error) {
    if (!(error instanceof EnoughFaults)) throw error;
  }
  const refusal = faults.refusal();
  if (refusal) throw refusal;
  return coerced;
}

/**
 * A document whose variables are taken as they are, for the executor to run with coerced ones. The document has to be
 * validated before: of its variables this one says nothing.
 */
export function takingCoerced(document: DocumentNode): DocumentNode {
  return {
    ...document,
    definitions: document.definitions.map((node) =>
      node.kind === Kind.OPERATION_DEFINITION && node.variableDefinitions
        ? { ...node, variableDefinitions: node.variableDefinitions.map(anything) }
        : node,
    ),
  };
}

function anything({ kind, variable }: VariableDefinitionNode): VariableDefinitionNode {
  return { kind, variable, type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: 'JSON' } } };
}

type Path = readonly (string | number)[];
type OnFault = (path: Path, message: string) => void;

/** One value, or the items of a list in slices. */
async function coerce(
  value: unknown,
  type: GraphQLInputType,
  one: (value: unknown, type: GraphQLInputType, within: Path) => unknown,
): Promise<unknown> {
  const nullable = getNullableType(type);
  return isListType(nullable) && Array.isArray(value)
    ? mapInSlices(value, (item, index) => one(item, nullable.ofType, [index]))
    : one(value, type, []);
}

function coerceOne(value: unknown, type: GraphQLInputType, within: Path, onFault: OnFault, suggest: boolean): unknown {
  const told: Parameters<typeof coerceInputValue>[2] = (path, _value, error) =>
    onFault([...within, ...path], error.message);
  return coerceInputValue(value, type, told, !suggest);
}

/** Ends the search: graphql-js goes on until its callback throws. */
class EnoughFaults extends Error {}

/** What is wrong with the variables, up to the limit. */
class Faults {
  readonly #errors: FieldError[] = [];
  #more = false;

  /** @throws EnoughFaults */
  add(parameter: string, path: Path, message: string): void {
    const pointer = pointerOf(path);
    this.#push({ parameter, ...(pointer !== '' && { pointer }), code: 'invalid_type', message });
  }

  missing(parameter: string): void {
    this.#push({ parameter, code: 'required', message: 'Required.' });
  }

  #push(error: FieldError): void {
    if (this.#errors.length === mostErrors) {
      this.#more = true;
      throw new EnoughFaults();
    }
    this.#errors.push(error);
  }

  refusal(): RequestRefused | null {
    const [first] = this.#errors;
    if (!first) return null;
    const message = `Variable $${first.parameter}${first.pointer ?? ''}: ${first.message}`;
    return refuse('graphql_variables_invalid', message, this.#errors, this.#more);
  }
}
