import {
  type DirectiveNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
} from 'graphql';
import { refuse } from './errors.ts';

/** What a request may ask for; a client reads its cost in `extensions.cost`. */
export const limits = {
  /** Characters of a document. */
  characters: 100_000,
  tokens: 1_000,
  depth: 12,
  aliases: 30,
  directives: 30,
  /** Records and weighted fields (`@cost` in the schema), with the page sizes of nested lists multiplied. */
  cost: 5_000,
} as const;

/** Page size where `first` is not given, as everywhere; more than the largest page is refused by the operation. */
const defaultPage = 25;
const largestPage = 100;

export type Variables = Readonly<Record<string, unknown>>;

/** An operation of a document, measured once; its cost depends on variables. */
export interface Measured {
  kind: 'query' | 'mutation' | 'subscription';
  /** Fields of the root type, through fragments. */
  rootFields: number;
  introspects: boolean;
  /** Whether it takes a batch, whose body may be larger. */
  batches: boolean;
  cost: (variables: Variables) => number;
}

/**
 * Measures an operation and refuses it when it is too deep or has too many aliases or directives. Works on documents
 * that are not validated yet: what the schema does not know costs nothing, and validation refuses it after this.
 *
 * @throws RequestRefused `graphql_query_too_complex`
 */
export function measure(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode): Measured {
  const survey = new Survey(schema, document, operation);
  const type = schema.getRootType(operation.operation);
  const root = survey.selections(operation.selectionSet.selections, type?.name ?? '');
  const directives = root.directives + count(operation.directives);
  within('depth', root.depth);
  within('aliases', root.aliases);
  within('directives', directives);
  return {
    kind: operation.operation,
    rootFields: root.fields,
    introspects: root.introspects,
    batches: root.batches,
    cost: (variables) => total(root.cost, variables, new Map()).fixed,
  };
}

/** @throws RequestRefused when the cost is beyond the limit */
export function assertAffordable(cost: number): void {
  within('cost', cost);
}

function within(limit: keyof typeof limits, found: number): void {
  if (found <= limits[limit]) return;
  const shown = found > 1e15 ? 'far more' : String(found);
  throw refuse('graphql_query_too_complex', `The ${limit} of the query is ${shown}; the limit is ${limits[limit]}.`, [
    { parameter: 'query', code: `too_much_${limit}`, message: `${shown} of ${limits[limit]}.` },
  ]);
}

function count(directives: readonly DirectiveNode[] | undefined): number {
  return directives?.length ?? 0;
}

/** What a selection set costs: fields by weight, and fragments, which several sets may share. */
interface CostSet {
  fields: CostField[];
  fragments: CostSet[];
}

interface CostField {
  weight: number;
  /** Whether it stands once per record of the page around it (`nodes`, `edges`). */
  perRecord: boolean;
  size: ((variables: Variables) => number) | null;
  below: CostSet;
}

interface Cost {
  fixed: number;
  perRecord: number;
}

function total(set: CostSet, variables: Variables, known: Map<CostSet, Cost>): Cost {
  const seen = known.get(set);
  if (seen) return seen;
  const cost: Cost = { fixed: 0, perRecord: 0 };
  known.set(set, cost);
  for (const field of set.fields) {
    const below = total(field.below, variables, known);
    const own = field.weight + below.fixed + below.perRecord * (field.size?.(variables) ?? 1);
    cost[field.perRecord ? 'perRecord' : 'fixed'] += own;
  }
  for (const fragment of set.fragments) {
    const below = total(fragment, variables, known);
    cost.fixed += below.fixed;
    cost.perRecord += below.perRecord;
  }
  return cost;
}

interface Surveyed {
  depth: number;
  aliases: number;
  directives: number;
  /** Through fragments, as are the others. */
  fields: number;
  introspects: boolean;
  batches: boolean;
  cost: CostSet;
}

function nothing(): Surveyed {
  const cost: CostSet = { fields: [], fragments: [] };
  return { depth: 0, aliases: 0, directives: 0, fields: 0, introspects: false, batches: false, cost };
}

/** One walk over an operation; each fragment is walked once per type it stands on. */
class Survey {
  readonly #schema: GraphQLSchema;
  readonly #fragments: Map<string, FragmentDefinitionNode>;
  readonly #defaults: Map<string, number>;
  readonly #known = new Map<FragmentDefinitionNode, Surveyed>();

  constructor(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) {
    this.#schema = schema;
    this.#fragments = new Map(
      document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
    );
    this.#defaults = new Map(
      (operation.variableDefinitions ?? []).flatMap(({ variable, defaultValue }) =>
        defaultValue?.kind === Kind.INT ? [[variable.name.value, Number(defaultValue.value)]] : [],
      ),
    );
  }

  selections(nodes: readonly SelectionNode[], typeName: string): Surveyed {
    const sum = nothing();
    for (const node of nodes) {
      sum.directives += count(node.directives);
      if (node.kind === Kind.FIELD) this.#field(node, typeName, sum);
      else {
        const inner =
          node.kind === Kind.INLINE_FRAGMENT
            ? this.selections(node.selectionSet.selections, node.typeCondition?.name.value ?? typeName)
            : this.#fragment(node.name.value);
        sum.depth = Math.max(sum.depth, inner.depth);
        sum.aliases += inner.aliases;
        sum.directives += inner.directives;
        sum.fields += inner.fields;
        sum.introspects ||= inner.introspects;
        sum.batches ||= inner.batches;
        sum.cost.fragments.push(inner.cost);
      }
    }
    return sum;
  }

  #fragment(name: string): Surveyed {
    const fragment = this.#fragments.get(name);
    if (!fragment) return nothing();
    const known = this.#known.get(fragment);
    if (known) return known;
    // A fragment inside itself is for validation to refuse; here it ends the walk.
    this.#known.set(fragment, nothing());
    const found = this.selections(fragment.selectionSet.selections, fragment.typeCondition.name.value);
    this.#known.set(fragment, found);
    return found;
  }

  #field(node: FieldNode, typeName: string, sum: Surveyed): void {
    const name = node.name.value;
    if (node.alias) sum.aliases += 1;
    sum.fields += 1;
    const field = this.#definition(typeName, name);
    const type = field ? getNamedType(field.type) : undefined;
    const below = this.selections(node.selectionSet?.selections ?? [], type?.name ?? '');
    // Introspection is deep by nature; graphql-js limits it by a rule of its own.
    const introspection = name === '__schema' || name === '__type';
    sum.introspects ||= introspection;
    sum.batches ||= name.startsWith('batch');
    sum.depth = Math.max(sum.depth, introspection ? 1 : below.depth + 1);
    sum.aliases += below.aliases;
    sum.directives += below.directives;
    sum.cost.fields.push({
      weight: field ? (weightOf(field) ?? (type && isCompositeType(type) ? 1 : 0)) : 0,
      perRecord: field !== undefined && isListType(getNullableType(field.type)) && isConnection(typeName),
      size: field?.args.some((argument) => argument.name === 'first') ? this.#size(node) : null,
      below: below.cost,
    });
  }

  #definition(typeName: string, name: string): GraphQLField<unknown, unknown> | undefined {
    const type = this.#schema.getType(typeName);
    return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined;
  }

  #size(node: FieldNode): (variables: Variables) => number {
    const value = node.arguments?.find((argument) => argument.name.value === 'first')?.value;
    if (value?.kind === Kind.VARIABLE) {
      const name = value.name.value;
      const fallback = this.#defaults.get(name);
      // The default is for a variable that is absent, not for one that is null.
      return (variables) => pageSize(variables[name] === undefined ? fallback : variables[name]);
    }
    const size = pageSize(value?.kind === Kind.INT ? Number(value.value) : undefined);
    return () => size;
  }
}

function isConnection(typeName: string): boolean {
  return typeName.endsWith('Connection');
}

function pageSize(first: unknown): number {
  return typeof first === 'number' && first >= 0 ? Math.min(first, largestPage) : defaultPage;
}

/** `@cost(weight: 100)` of a field. */
function weightOf(field: GraphQLField<unknown, unknown>): number | null {
  const directive = field.astNode?.directives?.find((one) => one.name.value === 'cost');
  const weight = directive?.arguments?.find((argument) => argument.name.value === 'weight')?.value;
  return weight?.kind === Kind.INT ? Number(weight.value) : null;
}
