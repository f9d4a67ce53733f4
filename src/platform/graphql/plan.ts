import { type SQL, sql } from 'drizzle-orm';
import {
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getArgumentValues,
  getNamedType,
  getNullableType,
  isEnumType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  visit,
} from 'graphql';
import { collectFields, collectSubfields } from 'graphql/execution/collectFields.js';
import { elementOf, membersOf, type Schema } from '../../records/walk.ts';
import { param, type Statement } from '../db/client.ts';
import { Problem } from '../errors.ts';
import { maskingOf, viewerTag } from '../masked-fields.ts';
import { authorize, type Context, call, fieldsOf, noteShown, type Operation, selectableOf } from '../operation.ts';
import { defaultLimit } from '../page.ts';
import { isPersonal } from '../personal.ts';
import {
  jsonObject,
  longestName,
  type RecordSource,
  type Select,
  type Selected,
  type SelectedPage,
  type SelectedRow,
} from '../record-source.ts';
import { type FieldContext, firstPage, type Line, lineOf, named, pageOptions, rawInput } from './field.ts';

/*
 * Fields of Query whose records Postgres can make into JSON are planned into one statement each, nested records included: its
 * text goes to the client as it is. A field that needs code anywhere below it, or a caller for whom something in it is refused,
 * is not planned: graphql-js resolves it (field.ts), and both answer the same.
 */

export type Fragments = Record<string, FragmentDefinitionNode>;
type Fields = ReadonlyMap<string, readonly FieldNode[]>;
type Variables = Record<string, unknown>;

/** A document's operation, and what its plans need of the document. */
export interface Planned {
  node: OperationDefinitionNode;
  fragments: Fragments;
  /** Variables that say what is included. */
  conditions: readonly string[];
  plans: Map<string, Plan | null>;
}

/** Plans of one operation: for each set of conditions and each kind of caller. */
const mostPlans = 64;
/** A statement is prepared when it has proven to come again, and up to this many: each is kept on every connection. */
const usesBeforePreparing = 3;
const mostPrepared = 100;
let prepared = 0;

export function plannable(node: OperationDefinitionNode, fragments: Fragments): Planned {
  const conditions = new Set<string>();
  for (const part of [node, ...Object.values(fragments)]) {
    visit(part, {
      Directive(directive) {
        for (const { value } of directive.arguments ?? []) {
          if (value.kind === Kind.VARIABLE) conditions.add(value.name.value);
        }
      },
    });
  }
  return { node, fragments, conditions: [...conditions], plans: new Map() };
}

/** The root fields of an operation by their names in the answer; null: a directive among them cannot be read. */
export function rootFields(schema: GraphQLSchema, { node, fragments }: Planned, variables: Variables): Fields | null {
  const query = schema.getQueryType();
  try {
    return query ? collectFields(schema, fragments, variables, query, node.selectionSet) : null;
  } catch (error) {
    if (error instanceof GraphQLError) return null;
    throw error;
  }
}

/**
 * The JSON of a root field, when it can be planned for this caller and these variables; null: it is to be resolved.
 *
 * @throws what the operation refuses it with
 */
export async function runPlanned(
  schema: GraphQLSchema,
  planned: Planned,
  {
    key,
    nodes,
    variables,
    context,
  }: { key: string; nodes: readonly FieldNode[]; variables: Variables; context: FieldContext },
): Promise<string | null> {
  if (nodes[0]?.name.value === '__typename') return `"${schema.getQueryType()?.name}"`;
  const plan = planFor(schema, planned, { key, nodes, variables, context: context.call });
  return plan ? plan.run(variables, context.call) : null;
}

function planFor(
  schema: GraphQLSchema,
  { fragments, conditions, plans }: Planned,
  root: { key: string; nodes: readonly FieldNode[]; variables: Variables; context: Context },
): Plan | null {
  const { key, nodes, variables, context } = root;
  const fields = fieldsOf(context);
  const viewer = `${context.personalData}${viewerTag(context.principal, fields)}`;
  const shape = JSON.stringify([key, viewer, ...conditions.map((name) => variables[name])]);
  const known = plans.get(shape);
  if (known !== undefined) return known;
  if (plans.size >= mostPlans) plans.clear();
  const plan = makePlan(
    {
      schema,
      fragments,
      variables,
      viewer: { principal: context.principal, personalData: context.personalData, fields },
    },
    nodes,
  );
  plans.set(shape, plan);
  return plan;
}

interface Setting {
  schema: GraphQLSchema;
  fragments: Fragments;
  variables: Variables;
  viewer: Parameters<typeof maskingOf>[2];
}

/** Thrown while a plan is made: the field is left to graphql-js. */
class NotPlanned extends Error {}

function makePlan(setting: Setting, nodes: readonly FieldNode[]): Plan | null {
  try {
    return new Plan(setting, nodes);
  } catch (error) {
    // The other one is about a directive.
    if (error instanceof NotPlanned || error instanceof GraphQLError) return null;
    throw error;
  }
}

function need<T>(value: T | null | undefined | false): T {
  if (value === null || value === undefined || value === false) throw new NotPlanned();
  return value;
}

/** A child connection: its arguments are read for each request. */
interface Child {
  node: FieldNode;
  nodes: readonly FieldNode[];
  definition: GraphQLField<unknown, unknown>;
  operation: Operation;
  ids: string;
  /** In the parameters of the statement. */
  name: string;
}

/** Records whose personal data is told: which operation would have, and whose they are, of a row of the root. */
interface Shown {
  operation: Operation;
  owners: (row: SQL) => SQL;
}

/** From a row of the root to the rows of a place below it: what is an array of ids there, becomes one here. */
type Reach = (ids: (row: SQL) => SQL) => (row: SQL) => SQL;

type Sorts = ReadonlyMap<Child, string | undefined>;

class Plan {
  readonly #setting: Setting;
  readonly #nodes: readonly FieldNode[];
  readonly #definition: GraphQLField<unknown, unknown>;
  readonly #line: Line;
  readonly #operation: Operation;
  readonly #children: Child[] = [];
  readonly #operations = new Set<Operation>();
  readonly #shown: Shown[] = [];
  /** Objects of each row, in the columns `t0`, `t1`, … */
  readonly #texts: ((row: SQL, sorts: Sorts) => SQL)[] = [];
  readonly #assemble: (page: SelectedPage, after: boolean) => string;
  #shapes = new Map<string, Map<string, Statement<SelectedRow>>>();
  #uses = 0;
  #prepared = false;
  #rows = 0;

  constructor(setting: Setting, nodes: readonly FieldNode[]) {
    this.#setting = setting;
    this.#nodes = nodes;
    const [node] = nodes;
    const query = setting.schema.getQueryType();
    this.#definition = need(node && query?.getFields()[node.name.value]);
    this.#line = need(this.#definition.resolve && lineOf(this.#definition.resolve));
    const { kind, operations } = this.#line;
    this.#operation = need(operations[0]);
    need(kind === 'record' || kind === 'connection');
    const { source, one, page } = need(selectableOf(this.#operation));
    need(kind === 'record' ? one : page);
    const type = objectType(this.#definition);
    const place = { source, operation: this.#operation, reach: (ids: (row: SQL) => SQL) => ids };
    if (kind === 'record') {
      this.#text(place, type, nodes);
      this.#assemble = ({ data: [row] }) => String(row?.['t0']);
    } else {
      this.#assemble = this.#connectionOf(place, type, nodes);
    }
  }

  #subfields(type: GraphQLObjectType, nodes: readonly FieldNode[]): Fields {
    const { schema, fragments, variables } = this.#setting;
    const found = collectSubfields(schema, fragments, variables, type, nodes);
    for (const name of found.keys()) need(name.length <= longestName);
    return found;
  }

  /** Adds an object of each row to the statement, and returns its column. */
  #text(place: Place, type: GraphQLObjectType, nodes: readonly FieldNode[]): string {
    const object = this.#object(place, type, nodes);
    this.#texts.push(object);
    return `t${this.#texts.length - 1}`;
  }

  #connectionOf(place: Place, type: GraphQLObjectType, nodes: readonly FieldNode[]) {
    const parts = [...this.#subfields(type, nodes)].map(([as, own]) => {
      const name = need(own[0]).name.value;
      return { as, of: this.#connectionField(place, type, name, own) };
    });
    return (page: SelectedPage, after: boolean) =>
      `{${parts.map(({ as, of }) => `"${as}":${of(page, after)}`).join(',')}}`;
  }

  #connectionField(
    place: Place,
    type: GraphQLObjectType,
    name: string,
    nodes: readonly FieldNode[],
  ): (page: SelectedPage, after: boolean) => string {
    if (name === '__typename') return () => `"${type.name}"`;
    const field = need(type.getFields()[name]);
    if (name === 'totalCount') return ({ page: { total } }) => String(total ?? null);
    const below = objectType(field);
    if (name === 'nodes') {
      const column = this.#text(place, below, nodes);
      return ({ data }) => `[${data.map((row) => row[column]).join(',')}]`;
    }
    const parts = [...this.#subfields(below, nodes)].map(([as, own]) => {
      const inner = need(own[0]).name.value;
      if (inner === '__typename') return { as, of: () => `"${below.name}"` };
      if (name === 'edges' && inner === 'node') {
        const column = this.#text(place, objectType(need(below.getFields()[inner])), own);
        return { as, of: (row: SelectedRow | undefined) => String(row?.[column]) };
      }
      return { as, of: need(name === 'edges' ? edgeFields[inner] : name === 'pageInfo' && pageFields[inner]) };
    });
    const object = (page: SelectedPage, after: boolean, row?: SelectedRow, index = 0) =>
      `{${parts.map(({ as, of }) => `"${as}":${of(row, index, page, after)}`).join(',')}}`;
    if (name === 'pageInfo') return (page, after) => object(page, after);
    return (page, after) => `[${page.data.map((row, index) => object(page, after, row, index)).join(',')}]`;
  }

  /** A JSON object of a row with what is selected. */
  #object(place: Place, type: GraphQLObjectType, nodes: readonly FieldNode[]): (row: SQL, sorts: Sorts) => SQL {
    const { source, operation, reach } = place;
    const parts: ((sorts: Sorts) => Selected)[] = [];
    const personal: string[] = [];
    for (const [as, own] of this.#subfields(type, nodes)) {
      const name = need(own[0]).name.value;
      const field = type.getFields()[name];
      const line = field?.resolve && lineOf(field.resolve);
      if (field && line?.kind === 'related') parts.push(this.#related(place, { as, field, line, nodes: own }));
      else if (field && line?.kind === 'childConnection')
        parts.push(this.#child(place, { as, field, line, nodes: own }));
      else {
        const { selected, shows } = this.#member(source.output, type, as, own);
        if (shows) personal.push(need(own[0]).name.value);
        parts.push(() => selected);
      }
    }
    if (personal.length > 0) this.#shown.push({ operation, owners: reach((row) => source.ownerOf(row, personal)) });
    return (row, sorts) =>
      source.object(
        row,
        parts.map((part) => part(sorts)),
      );
  }

  /** A member of a document, with the mask of the caller. */
  #member(
    holder: Schema,
    type: GraphQLObjectType,
    as: string,
    nodes: readonly FieldNode[],
  ): { selected: Selected; shows: boolean } {
    const name = need(nodes[0]).name.value;
    if (name === '__typename') return { selected: { as, constant: type.name }, shows: false };
    const field = need(type.getFields()[name]);
    need(!field.resolve);
    const member = need(membersOf(holder).find(([key]) => key === name));
    const masking = maskingOf(holder, member, this.#setting.viewer);
    if (masking === 'clear') {
      need(!isNonNullType(field.type));
      return { selected: { as, constant: null }, shows: false };
    }
    const [, schema] = member;
    const inner = getNamedType(field.type);
    const list = isListType(getNullableType(field.type));
    let shows = this.#setting.viewer.personalData && isPersonal(schema);
    if (isLeafType(inner)) {
      need(masking === 'none');
      const capitals = isEnumType(inner);
      if (capitals) need(!list && inner.getValues().every(({ name: word }) => word === word.toUpperCase()));
      return { selected: { as, member: name, capitals, nested: null }, shows };
    }
    need(isObjectType(inner));
    const document = inner as GraphQLObjectType; // by the line above
    const element = list ? need(elementOf(schema)) : schema;
    const members = [...this.#subfields(document, nodes)].map(([key, own]) => {
      const found = this.#member(element, document, key, own);
      shows ||= found.shows;
      return found.selected;
    });
    return { selected: { as, member: name, capitals: false, nested: { list, members, sparse: false } }, shows };
  }

  /** The record whose id stands in a member. */
  #related({ source, reach }: Place, { as, field, line, nodes }: Below): (sorts: Sorts) => Selected {
    const operation = need(line.operations[0]);
    const other = need(selectableOf(operation)).source;
    const member = need(membersOf(source.output).find(([key]) => key === line.member));
    // Who does not see the id does not see the record.
    const masking = maskingOf(source.output, member, this.#setting.viewer);
    need(masking !== 'partly');
    this.#operations.add(operation);
    if (masking === 'clear') return () => ({ as, constant: null });
    const from = (row: SQL) => sql`(${other.byId(sql`${row}.${sql.identifier(member[0])}`)})`;
    const place = { source: other, operation, reach: this.#below(reach, from) };
    const object = this.#object(place, objectType(field), nodes);
    const name = this.#row();
    return (sorts) => ({ as, made: (row) => sql`(select ${object(name, sorts)} from ${from(row)} ${name})` });
  }

  /** The first records that belong to a record. */
  #child({ reach }: Place, { as, field, line, nodes }: Below): (sorts: Sorts) => Selected {
    const [operation] = line.operations;
    const { source, ofOwner } = need(operation && selectableOf(operation));
    const records = need(ofOwner);
    const child: Child = {
      node: need(nodes[0]),
      nodes,
      definition: field,
      operation: need(operation),
      ids: need(line.ids),
      name: `$first${this.#children.length}`,
    };
    this.#children.push(child);
    this.#operations.add(child.operation);
    const size = sql`${param(child.name)}::int`;
    const first = (row: SQL, sort: string | undefined) => sql`(${records(sql`${row}.id`, sort)} limit ${size})`;
    const place = { source, operation: child.operation, reach: this.#below(reach, (row) => first(row, undefined)) };
    const type = objectType(field);
    const all = (row: SQL) => sql`(${records(sql`${row}.id`, undefined)})`;
    const parts = [...this.#subfields(type, nodes)].map(([key, own]) => {
      const name = need(own[0]).name.value;
      if (name === '__typename') return [key, () => text(type.name)] as const;
      if (name === 'totalCount') return [key, (row: SQL) => sql`(select count(*) from ${all(row)} c)`] as const;
      const below = objectType(need(type.getFields()[name]));
      if (name === 'pageInfo') return [key, this.#childPage(below, own, all, size)] as const;
      need(name === 'nodes' || name === 'edges');
      const object = name === 'nodes' ? this.#object(place, below, own) : this.#edge(place, below, own);
      const each = this.#row();
      return [
        key,
        (row: SQL, sorts: Sorts) =>
          sql`array_to_json(array(select ${object(each, sorts)} from ${first(row, sorts.get(child))} ${each}))`,
      ] as const;
    });
    return (sorts) => ({ as, made: (row) => jsonObject(parts.map(([key, part]) => [key, part(row, sorts)])) });
  }

  #edge(place: Place, type: GraphQLObjectType, nodes: readonly FieldNode[]): (row: SQL, sorts: Sorts) => SQL {
    const parts = [...this.#subfields(type, nodes)].map(([key, own]) => {
      const name = need(own[0]).name.value;
      if (name === '__typename') return [key, () => text(type.name)] as const;
      // A cursor is signed here, and not in the database.
      need(name === 'node');
      return [key, this.#object(place, objectType(need(type.getFields()[name])), own)] as const;
    });
    return (row, sorts) => jsonObject(parts.map(([key, part]) => [key, part(row, sorts)]));
  }

  #childPage(type: GraphQLObjectType, nodes: readonly FieldNode[], all: (row: SQL) => SQL, size: SQL) {
    const parts = [...this.#subfields(type, nodes)].map(([key, own]) => {
      const name = need(own[0]).name.value;
      if (name === '__typename') return [key, () => text(type.name)] as const;
      if (name === 'hasPreviousPage') return [key, () => sql`false`] as const;
      need(name === 'hasNextPage');
      return [
        key,
        (row: SQL) => sql`(select count(*) > ${size} from (select from ${all(row)} c limit ${size} + 1) c)`,
      ] as const;
    });
    return (row: SQL) => jsonObject(parts.map(([key, part]) => [key, part(row)]));
  }

  #row(): SQL {
    this.#rows += 1;
    return sql.raw(`r${this.#rows}`);
  }

  #below(reach: Reach, from: (row: SQL) => SQL): Reach {
    const name = this.#row();
    return (ids) => reach((row) => sql`array(select unnest(${ids(name)}) from ${from(row)} ${name})`);
  }

  async run(variables: Variables, context: Context): Promise<string | null> {
    const inputs = this.#inputs(variables, context);
    if (!inputs) return null;
    this.#countUse();
    const { sorts, values } = inputs;
    const select = this.#select(sorts, values);
    const { one, page } = need(selectableOf(this.#operation));
    const answer = call(this.#operation, context, inputs.raw, [], async (input) => {
      if (one && this.#line.kind === 'record') {
        const row = await one(context, input, select);
        const output: SelectedPage = { data: [row], page: { next: null, hasMore: false } };
        return { output, ...this.#note([row], context) };
      }
      const output = await page?.(context, input, select);
      return { output, ...this.#note(output?.data ?? [], context) };
    });
    const found = this.#line.kind === 'record' ? await nullIfNotFound(answer) : await named(this.#line.names, answer);
    if (found === null) return 'null';
    return this.#assemble(found.output as SelectedPage, inputs.after); // made above
  }

  /** What the root and its children are asked for; null: something in it is for graphql-js to refuse. */
  #inputs(variables: Variables, context: Context) {
    const { fragments } = this.#setting;
    try {
      for (const operation of this.#operations) authorize(operation, context);
      const [node] = this.#nodes;
      const args = getArgumentValues(this.#definition, need(node), variables);
      const options = this.#line.kind === 'connection' ? pageOptions({ fieldNodes: [...this.#nodes], fragments }) : {};
      const raw = { ...rawInput(this.#operation, args, this.#line.names), ...options };
      const sorts = new Map<Child, string | undefined>();
      const values: Record<string, number> = {};
      for (const child of this.#children) {
        const given = getArgumentValues(child.definition, child.node, variables);
        const first = need(firstPage(child.operation, given, { fieldNodes: [...child.nodes], fragments }));
        const { success, data } = child.operation.input.safeParse({ ...first, [child.ids]: [] });
        const {
          limit = defaultLimit,
          sort,
          count: _count,
          members: _members,
          [child.ids]: _ids,
          ...rest
        } = need(success && data) as Record<string, unknown>; // an object schema gives an object
        need(Object.keys(rest).length === 0);
        sorts.set(child, sort as string | undefined); // by its schema
        values[child.name] = Number(limit);
      }
      return { raw, sorts, values, after: typeof args['after'] === 'string' };
    } catch (error) {
      if (error instanceof NotPlanned || error instanceof GraphQLError || error instanceof Problem) return null;
      throw error;
    }
  }

  #countUse(): void {
    this.#uses += 1;
    if (this.#uses !== usesBeforePreparing || prepared >= mostPrepared) return;
    prepared += 1;
    this.#prepared = true;
    this.#shapes = new Map();
  }

  #select(sorts: Sorts, values: Record<string, number>): Select {
    const shape = JSON.stringify([...sorts.values()]);
    const shapes = this.#shapes.get(shape) ?? new Map<string, Statement<SelectedRow>>();
    this.#shapes.set(shape, shapes);
    return {
      values,
      shapes,
      unprepared: () => !this.#prepared,
      columns: (row) =>
        sql.join(
          [
            sql`true as found`, // also where only the page itself is asked for
            ...this.#texts.map((object, at) => sql`${object(row, sorts)}::text as ${sql.raw(`t${at}`)}`),
            ...this.#shown.map(({ owners }, at) => sql`${owners(row)} as ${sql.raw(`shown${at}`)}`),
          ],
          sql`, `,
        ),
    };
  }

  /** What the audit is told: of the root by `call`, of what is below it here. */
  #note(rows: readonly SelectedRow[], context: Context) {
    let own: string[] | null = null;
    for (const [at, { operation }] of this.#shown.entries()) {
      const customerIds = rows.flatMap((row) => row[`shown${at}`] as string[]); // an array of ids
      if (customerIds.length === 0) continue;
      if (operation === this.#operation) own = [...(own ?? []), ...customerIds];
      else noteShown(operation, context, customerIds);
    }
    return { customerIds: own, ...(this.#line.kind === 'record' && { recordIds: rows.map(({ id }) => id) }) };
  }
}

/** Where records are read. */
interface Place {
  source: RecordSource;
  operation: Operation;
  reach: Reach;
}

interface Below {
  as: string;
  field: GraphQLField<unknown, unknown>;
  line: Line;
  nodes: readonly FieldNode[];
}

function objectType({ type }: GraphQLField<unknown, unknown>): GraphQLObjectType {
  const inner = getNamedType(type);
  need(isObjectType(inner));
  return inner as GraphQLObjectType; // by the line above
}

/** @param name of a type: letters */
function text(name: string): SQL {
  return sql.raw(`'${name}'::text`);
}

type PageField = (row: SelectedRow | undefined, index: number, page: SelectedPage, after: boolean) => string;

const edgeFields: Readonly<Record<string, PageField>> = {
  cursor: (_row, index, { page }) => JSON.stringify(page.cursors?.[index] ?? null),
};

const pageFields: Readonly<Record<string, PageField>> = {
  hasNextPage: (_row, _index, { page }) => String(page.hasMore),
  hasPreviousPage: (_row, _index, _page, after) => String(after),
  startCursor: (_row, _index, { page }) => JSON.stringify(page.cursors?.[0] ?? null),
  endCursor: (_row, _index, { page }) => JSON.stringify(page.cursors?.at(-1) ?? page.next),
};

async function nullIfNotFound<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Problem && error.code === 'not_found') return null;
    throw error;
  }
}
