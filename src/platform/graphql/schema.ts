import {
  buildSchema,
  type GraphQLEnumType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  isEnumType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
} from 'graphql';
import { isGroup, operationsOf, type Resolvers } from './field.ts';
import { scalarsByName } from './scalars.ts';

/**
 * The executable schema out of the SDL and the features' resolvers. Deny by default: a field of Query or Mutation, or
 * any resolver, that is not made from an operation (which carries the scope) does not start.
 *
 * @throws Error naming the field
 */
export function createSchema(sdl: string, features: readonly Resolvers[]): GraphQLSchema {
  // Printed by `npm run generate`, which reads it with all checks.
  const schema = buildSchema(sdl, { noLocation: true, assumeValidSDL: true });
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isEnumType(type)) spellInSnakeCase(type);
    if (isScalarType(type) && !isSpecifiedScalarType(type)) {
      const scalar = scalarsByName.get(type.name);
      if (!scalar) throw new Error(`The scalar ${type.name} is not implemented.`);
      type.serialize = scalar.serialize;
      type.parseValue = scalar.parseValue;
      type.parseLiteral = scalar.parseLiteral;
    }
  }
  for (const resolvers of features) attach(schema, resolvers);
  for (const root of [schema.getQueryType(), schema.getMutationType()]) if (root) assertGuarded(root);
  return schema;
}

function attach(schema: GraphQLSchema, resolvers: Resolvers): void {
  for (const [typeName, fields] of Object.entries(resolvers)) {
    const type: GraphQLNamedType | undefined = schema.getType(typeName);
    for (const [fieldName, resolver] of Object.entries(fields)) {
      const field = isObjectType(type) ? type.getFields()[fieldName] : undefined;
      if (!field) throw new Error(`There is no field ${typeName}.${fieldName} in the schema.`);
      if (operationsOf(resolver).length === 0 && !isGroup(resolver)) {
        throw new Error(`${typeName}.${fieldName} is not made from an operation, so no scope protects it.`);
      }
      field.resolve = resolver;
    }
  }
}

function assertGuarded(type: GraphQLObjectType): void {
  for (const field of Object.values(type.getFields())) {
    const resolver = field.resolve;
    const grouped = resolver && isGroup(resolver) ? groupType(field.type) : null;
    if (grouped) assertGuarded(grouped);
    else if (!resolver || operationsOf(resolver).some(({ scope }) => scope === '')) {
      throw new Error(`${type.name}.${field.name} has no operation, so no scope protects it.`);
    }
  }
}

function groupType(type: unknown): GraphQLObjectType | null {
  const inner = typeof type === 'object' && type !== null && 'ofType' in type ? type.ofType : type;
  return isObjectType(inner) ? inner : null;
}

/**
 * GraphQL spells the words of REST in capitals: PARTIALLY_REFUNDED is `partially_refunded`. Orders of lists are
 * FIELD_ASC and FIELD_DESC for `field` and `-field`. A single letter (a grade) is the same word on both doors.
 */
function spellInSnakeCase(type: GraphQLEnumType): void {
  for (const value of type.getValues()) value.value = wordOf(type.name, value.name);
}

export function wordOf(enumName: string, name: string): string {
  const sort = enumName.endsWith('Sort') ? /^(.+)_(ASC|DESC)$/.exec(name) : null;
  if (!sort?.[1]) return name.length === 1 ? name : name.toLowerCase();
  const field = sort[1].toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return sort[2] === 'DESC' ? `-${field}` : field;
}
