import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';

/**
 * The scalars of schema/base.graphql. They check the kind of a value (text, number) and leave its content to the
 * operation, whose refusals carry a code and a pointer.
 */

/** Begins the message of an answer that no JSON number can carry; see `describe` in errors.ts. */
export const beyondSafeInteger = 'SafeInt cannot carry an integer beyond 2^53 − 1';

/** With the node of a literal, graphql-js can say where in the document it stands. */
function refuse(message: string, node?: ValueNode): never {
  throw new GraphQLError(message, node ? { nodes: [node] } : {});
}

function safeInteger(value: unknown, node?: ValueNode): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) return refuse('SafeInt takes an integer.', node);
  if (!Number.isSafeInteger(value)) return refuse(`${beyondSafeInteger}.`, node);
  return value;
}

function textScalar(name: string): GraphQLScalarType {
  const take = (value: unknown) => (typeof value === 'string' ? value : refuse(`${name} takes a string.`));
  return new GraphQLScalarType({
    name,
    serialize: (value) => value,
    parseValue: take,
    parseLiteral: (node) => (node.kind === Kind.STRING ? node.value : refuse(`${name} takes a string.`, node)),
  });
}

/** A number or a string, for the operation to read: decimals, versions. */
function numberOrText(name: string): GraphQLScalarType {
  const take = (value: unknown) =>
    typeof value === 'string' || typeof value === 'number' ? value : refuse(`${name} takes a number or a string.`);
  return new GraphQLScalarType({
    name,
    serialize: (value) => value,
    parseValue: take,
    parseLiteral(node) {
      if (node.kind === Kind.STRING) return node.value;
      if (node.kind === Kind.INT || node.kind === Kind.FLOAT) return Number(node.value);
      return refuse(`${name} takes a number or a string.`, node);
    },
  });
}

function jsonLiteral(node: ValueNode): unknown {
  switch (node.kind) {
    case Kind.STRING:
    case Kind.BOOLEAN:
      return node.value;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.NULL:
      return null;
    case Kind.LIST:
      return node.values.map(jsonLiteral);
    case Kind.OBJECT:
      // `__proto__` as a member stays a member, for the operation to refuse.
      return Object.fromEntries(node.fields.map((field) => [field.name.value, jsonLiteral(field.value)]));
    case Kind.VARIABLE:
      // Literals are validated before there are variables, and no type says what one in here may be.
      return refuse('A JSON literal cannot contain variables: send the whole value as one variable.', node);
    case Kind.ENUM:
      return refuse(`${node.value} is no JSON value; did you mean a string?`, node);
  }
}

const scalars = [
  new GraphQLScalarType({
    name: 'SafeInt',
    serialize: (value) => safeInteger(value),
    parseValue: (value) => safeInteger(value),
    parseLiteral: (node) =>
      node.kind === Kind.INT ? safeInteger(Number(node.value), node) : refuse('SafeInt takes an integer.', node),
  }),
  textScalar('DateTime'),
  textScalar('Date'),
  numberOrText('Decimal'),
  numberOrText('SourceVersion'),
  numberOrText('ExpectedVersion'),
  new GraphQLScalarType({
    name: 'JSON',
    serialize: (value) => value,
    parseValue: (value) => value,
    parseLiteral: jsonLiteral,
  }),
];

export const scalarsByName: ReadonlyMap<string, GraphQLScalarType> = new Map(scalars.map((one) => [one.name, one]));
