import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';

/**
 * The scalars of the schema. They check the kind of a value (text, number) and leave its content to the
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

function textScalar(name: string, description: string): GraphQLScalarType {
  const take = (value: unknown) => (typeof value === 'string' ? value : refuse(`${name} takes a string.`));
  return new GraphQLScalarType({
    name,
    description,
    serialize: (value) => value,
    parseValue: take,
    parseLiteral: (node) => (node.kind === Kind.STRING ? node.value : refuse(`${name} takes a string.`, node)),
  });
}

/** A number or a string, for the operation to read: decimals, versions. */
function numberOrText(name: string, description: string): GraphQLScalarType {
  const take = (value: unknown) =>
    typeof value === 'string' || typeof value === 'number' ? value : refuse(`${name} takes a number or a string.`);
  return new GraphQLScalarType({
    name,
    description,
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
      return refuse(`${node.value} is not a JSON value; did you mean a string?`, node);
  }
}

const scalars = [
  new GraphQLScalarType({
    name: 'SafeInt',
    description:
      'An integer up to 2^53 − 1 either way, as a JSON number: amounts in minor units of a currency, and counts.',
    serialize: (value) => safeInteger(value),
    parseValue: (value) => safeInteger(value),
    parseLiteral: (node) =>
      node.kind === Kind.INT ? safeInteger(Number(node.value), node) : refuse('SafeInt takes an integer.', node),
  }),
  textScalar('DateTime', 'An RFC 3339 instant, taken with any offset and answered in UTC: `2026-03-01T09:30:00.000Z`.'),
  textScalar('Date', 'A calendar date: `2026-03-01`. Of a birthday the year may not be known: `--03-01`.'),
  numberOrText(
    'Decimal',
    'An exact decimal. It is answered as a string (`"1.1534"`) and taken as a string, or as a number where that is exact.',
  ),
  numberOrText(
    'SourceVersion',
    'The version of a record at its source: a counter (`7`) or an RFC 3339 instant, one kind per record. A message that is not newer than what is stored changes nothing and is answered with `applied: false`, and with the warning `source_version_not_newer` if its content differs: shops count in seconds.',
  ),
  numberOrText(
    'ExpectedVersion',
    'The `version` of the record you have seen (`3`), or `"*"` to change it whatever its version.',
  ),
  new GraphQLScalarType({
    name: 'JSON',
    description:
      'Any JSON value. A literal in the query may not contain variables: send the whole value as one variable instead.',
    serialize: (value) => value,
    parseValue: (value) => value,
    parseLiteral: jsonLiteral,
  }),
];

export const scalarsByName: ReadonlyMap<string, GraphQLScalarType> = new Map(scalars.map((one) => [one.name, one]));
