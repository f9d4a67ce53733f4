import {
  type GraphQLInputType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import t from 'tap';
import { z } from 'zod';
import { schemaFolder } from '../../src/app.ts';
import { resolvers, routes } from '../../src/features.ts';
import { group, operationsOf } from '../../src/platform/graphql/field.ts';
import { createSchema, readSdl } from '../../src/platform/graphql/schema.ts';
import type { Operation } from '../../src/platform/operation.ts';

const sdl = readSdl(schemaFolder);
const schema = createSchema(sdl, resolvers);
const operations = new Map(routes.map(({ operation }) => [operation.name, operation]));

const fields = resolvers.flatMap((feature) =>
  Object.entries(feature).flatMap(([type, members]) =>
    Object.entries(members).map(([name, resolver]) => ({ type, name, operations: operationsOf(resolver) })),
  ),
);
const rootFields = fields.filter(({ type }) => ['Query', 'Mutation', 'Metrics'].includes(type));

/** Operations that only GraphQL has, because it reads children of many parents at once, and what they stand for. */
const setOperations: Record<string, string> = {
  customersByIds: 'getCustomer',
  refundsByOrders: 'listRefunds',
  ordersOfCustomers: 'listCustomerOrders',
  customerSummaries: 'getCustomerSummary',
  interactionsOfCustomers: 'listCustomerInteractions',
  ordersByIds: 'getOrder',
  campaignsByIds: 'getCampaign',
  leadScoresByLeads: 'getLeadScore',
  coefficientsByLeadModels: 'getLeadModel',
  learnedByLeads: 'listLeads',
  leadsByIds: 'getLead',
  stagesByLeads: 'listLeadStages',
  assignmentsByLeads: 'listLeadAssignments',
  followUpsByCustomers: 'listCustomerFollowUps',
  timelinesOfCustomers: 'getCustomerTimeline',
  loyaltyProgrammesByIds: 'getLoyaltyProgramme',
  rewardsByIds: 'getReward',
  redemptionsByCustomers: 'listCustomerRedemptions',
  surveysByIds: 'getSurvey',
  surveyResponsesOfCustomers: 'listCustomerSurveyResponses',
  loyaltyByCustomers: 'getCustomerLoyalty',
  partnersByIds: 'getPartner',
  consentsByCustomers: 'getCustomerConsents',
};

/** Where a member of zod has another name as a type of GraphQL. */
const typeNames: Record<string, string> = {
  WrittenCustomer: 'Customer',
  WrittenOrder: 'Order',
  WrittenReturn: 'Return',
  WrittenCampaign: 'Campaign',
  WrittenRuleSet: 'RuleSet',
  WrittenLead: 'Lead',
  LeadQualification: 'LeadQualificationPayload',
  ListedLead: 'Lead',
  WrittenLeadModel: 'LeadModel',
  ListedLeadModel: 'LeadModel',
  WrittenInteraction: 'Interaction',
  WrittenSurveyResponse: 'SurveyResponse',
  WrittenLoyaltyProgramme: 'LoyaltyProgramme',
  WrittenCustomerLoyalty: 'CustomerLoyalty',
  WrittenLoyaltyTransaction: 'LoyaltyTransaction',
  WrittenReward: 'Reward',
  WrittenRedemption: 'Redemption',
  WrittenPartnerShare: 'PartnerShare',
  Deleted: 'DeletedPayload',
  BatchResults: 'BatchPayload',
  StoredRates: 'ExchangeRatesPayload',
};
/** Members of a written record that stand beside it in a payload. */
const payloadMembers = ['created', 'applied', 'warnings'];

type Direction = 'input' | 'output';
interface Unwrapped {
  schema: z.core.$ZodType;
  optional: boolean;
  nullable: boolean;
}

function unwrap(from: z.core.$ZodType): Unwrapped {
  let inner = from;
  let optional = false;
  let nullable = false;
  for (;;) {
    if (inner instanceof z.ZodOptional) {
      optional = true;
      inner = inner.unwrap();
    } else if (inner instanceof z.ZodNullable) {
      nullable = true;
      inner = inner.unwrap();
    } else if (inner instanceof z.ZodPipe) inner = inner.in;
    else return { schema: inner, optional, nullable };
  }
}

function idOf(of: z.core.$ZodType): string | undefined {
  return z.globalRegistry.get(of)?.id;
}

/** Walks a zod schema and a GraphQL type side by side; answers the differences. */
function differences(
  from: z.core.$ZodType,
  type: GraphQLInputType | GraphQLOutputType,
  direction: Direction,
  path: string,
  seen = new Set<string>(),
): string[] {
  const { schema: inner, optional, nullable } = unwrap(from);
  const required = !optional && !nullable;
  const found =
    isNonNullType(type) === required ? [] : [`${path}: ${type} where zod says ${required ? '' : 'not '}required`];
  const bare = isNonNullType(type) ? type.ofType : type;
  if (inner instanceof z.ZodArray) {
    if (!isListType(bare)) return [...found, `${path}: ${type} is no list`];
    return [...found, ...differences(inner.element, bare.ofType, direction, `${path}[]`, seen)];
  }
  const name = getNamedType(type).name;
  if (inner instanceof z.ZodObject) {
    const id = idOf(inner);
    const expected = id === undefined ? name : (typeNames[id] ?? id);
    const suffixed = direction === 'input' && !expected.endsWith('Input') ? `${expected}Input` : expected;
    if (name !== expected && name !== suffixed) found.push(`${path}: ${name} where zod says ${id}`);
    if (seen.has(name)) return found;
    seen.add(name);
    return [...found, ...memberDifferences(inner, name, direction, seen)];
  }
  if (inner instanceof z.ZodEnum) {
    if (name === 'String' && inner.options.length > 25) return found;
    if (!isEnumType(bare)) return [...found, `${path}: ${name} is no enum`];
    const values = bare.getValues().map(({ value }) => value);
    const id = idOf(inner);
    if (id !== undefined && id !== name) found.push(`${path}: enum ${name} where zod says ${id}`);
    return `${values.sort()}` === `${[...inner.options].sort()}`
      ? found
      : [...found, `${path}: ${name} has ${values}, zod ${inner.options}`];
  }
  const allowed = scalarsFor(inner);
  return allowed.includes(name) ? found : [...found, `${path}: ${name} where zod allows ${allowed}`];
}

function memberDifferences(of: z.ZodObject, typeName: string, direction: Direction, seen: Set<string>): string[] {
  const type = schema.getType(typeName);
  if (!(direction === 'input' ? isInputObjectType(type) : isObjectType(type))) return [`${typeName}: no such type`];
  const found: string[] = [];
  const members = (type as GraphQLObjectType).getFields();
  for (const [name, member] of Object.entries(of.shape)) {
    if (direction === 'output' && idOf(of)?.startsWith('Written') && payloadMembers.includes(name)) continue;
    const field = members[name];
    if (!field) found.push(`${typeName}.${name}: missing`);
    else found.push(...differences(member, field.type, direction, `${typeName}.${name}`, seen));
  }
  const own = new Set([...Object.keys(of.shape), 'replayed']);
  for (const field of Object.values(members)) {
    if (!own.has(field.name) && !field.resolve) found.push(`${typeName}.${field.name}: zod knows no such member`);
  }
  return found;
}

function scalarsFor(of: z.core.$ZodType): string[] {
  const meta = z.globalRegistry.get(of) as { format?: string } | undefined;
  if (of instanceof z.ZodUnion) return ['SourceVersion', 'Decimal', 'ExpectedVersion'];
  if (of instanceof z.ZodBoolean || of instanceof z.ZodLiteral) return ['Boolean'];
  if (of instanceof z.ZodRecord || of instanceof z.ZodUnknown) return ['JSON'];
  if (of instanceof z.ZodNumber) return of.isInt ? ['Int', 'SafeInt'] : ['Float'];
  if (of instanceof z.ZodUUID) return ['ID'];
  if (of instanceof z.ZodISODate) return ['Date'];
  if (meta?.format === 'date-time') return ['DateTime'];
  return of instanceof z.ZodString ? ['String', 'Decimal'] : [`nothing for ${of._zod.def.type}`];
}

t.test('types of the SDL have the members, nullability and words of the zod entities', async (t) => {
  for (const { type, name, operations: behind } of fields) {
    const field = (schema.getType(type) as GraphQLObjectType).getFields()[name];
    const operation = behind[0];
    if (!field || !operation) continue;
    const output = getNamedType(field.type);
    const { schema: produced } = unwrap(operation.output);
    if (output.name.endsWith('Connection')) {
      const nodes = (output as GraphQLObjectType).getFields()['nodes'];
      const page = produced instanceof z.ZodArray ? unwrap(produced.element).schema : produced;
      const data = page instanceof z.ZodObject ? page.shape['data'] : null;
      if (!data || !nodes) t.fail(`${type}.${name} does not answer pages`);
      else if (!(produced instanceof z.ZodArray))
        t.same(differences(data, nodes.type, 'output', `${type}.${name}`), []);
    } else if (
      output.name.endsWith('Payload') &&
      idOf(produced)?.match(
        /^(Written|RetentionRule|RequestedRetentionRun|Client|NewClientSecret|RevokedToken|SigningKey|Refund|AssignmentRule|FollowUp|Survey|Partner|ConsentChange|Erasure|MergeResult|UnmergeResult)/,
      )
    ) {
      const member = Object.values((output as GraphQLObjectType).getFields()).find(
        (one) => getNamedType(one.type).name === (typeNames[idOf(produced) ?? ''] ?? idOf(produced)),
      );
      if (!member) t.fail(`${output} carries no ${idOf(produced)}`);
      else t.same(differences(produced, member.type, 'output', `${type}.${name}`), []);
    } else {
      const named = produced instanceof z.ZodArray ? unwrap(produced.element).schema : produced;
      const inner = named instanceof z.ZodArray ? unwrap(named.element).schema : named;
      t.same(memberDifferences(inner as z.ZodObject, output.name, 'output', new Set()), [], `${type}.${name}`);
    }
  }
});

/** Argument → the parameters of the operation it stands for. */
function parametersOf(argument: string, operation: Operation): string[] {
  const { shape } = operation.input;
  if (argument === 'first') return ['limit'];
  if (/^(reference|orderReference)$/.test(argument)) return ['source', 'externalId'];
  if (/^(orderId|surveyId)$/.test(argument) && !(argument in shape)) return ['id'];
  if (argument === 'input' && !('body' in shape)) return Object.keys(shape);
  return argument in shape ? [argument] : ['body'];
}

t.test('arguments are the parameters of the operations, with their types', async (t) => {
  for (const { type, name, operations: behind } of rootFields) {
    const field = (schema.getType(type) as GraphQLObjectType).getFields()[name];
    const operation = behind[0];
    if (!field || !operation) continue;
    const { shape } = operation.input;
    const takes = new Set(field.args.flatMap((argument) => parametersOf(argument.name, operation)));
    // A total, cursors and learned scores are worked out when they are selected.
    const parameters = Object.keys(shape).filter((parameter) => !['count', 'cursors', 'learned'].includes(parameter));
    t.same([...takes].sort(), parameters.sort(), `${type}.${name}`);
    for (const argument of field.args) {
      const place = `${type}.${name}(${argument.name})`;
      const body = shape['body'] as z.ZodObject | undefined;
      if (argument.name === 'input') {
        t.same(differences(body ?? operation.input.optional(), argument.type, 'input', place), [], place);
      } else if (argument.name in shape) {
        const parameter = shape[argument.name] as z.ZodType;
        // What a write demands is told by the operation (version_required), as on REST.
        const asked = argument.name === 'expectedVersion' ? parameter.optional() : parameter;
        if (argument.name !== 'sort') t.same(differences(asked, argument.type, 'input', place), [], place);
        else
          t.same(enumWords(argument.type), unwrap(parameter).schema instanceof z.ZodEnum && options(parameter), place);
      } else if (body?.shape[argument.name] && !/^batch/.test(name)) {
        t.same(differences(body.shape[argument.name] as z.ZodType, argument.type, 'input', place), [], place);
      }
    }
  }
});

function enumWords(type: GraphQLInputType) {
  const named = getNamedType(type);
  return isEnumType(named)
    ? named
        .getValues()
        .map(({ value }) => value)
        .sort()
    : [];
}

function options(parameter: z.ZodType): unknown[] {
  const { schema: inner } = unwrap(parameter);
  return inner instanceof z.ZodEnum ? [...inner.options].sort() : [];
}

t.test('batches take the items of the single writes', async (t) => {
  const mutations = schema.getMutationType()?.getFields() ?? {};
  for (const kind of [
    'Customer',
    'Order',
    'Return',
    'Interaction',
    'Campaign',
    'LoyaltyTransaction',
    'SurveyResponse',
  ]) {
    const item = getNamedType(
      mutations[`batch${kind}s`]?.args.find(({ name }) => name !== 'surveyId')?.type as GraphQLInputType,
    );
    t.equal(
      item,
      getNamedType(mutations[`create${kind}`]?.args.find(({ name }) => name === 'input')?.type as GraphQLInputType),
    );
  }
});

t.test('what one door can do, the other can', async (t) => {
  const here = new Set(fields.flatMap(({ operations: behind }) => behind.map(({ name }) => name)));
  for (const name of Object.keys(setOperations)) if (here.has(name)) here.add(setOperations[name] ?? '');
  t.same(
    [...operations.keys()].filter((name) => !here.has(name)),
    [],
    'every operation of REST has a field',
  );
  const extra = [...here].filter((name) => !operations.has(name));
  t.same(extra.sort(), Object.keys(setOperations).sort(), 'every field has an operation of REST');
});

t.test('sets of records need the scope of the single one', async (t) => {
  for (const operation of fields.flatMap(({ operations: behind }) => behind)) {
    const single = operations.get(setOperations[operation.name] ?? operation.name);
    t.equal(operation.scope, single?.scope, operation.name);
  }
});

t.test('a field without an operation does not start', async (t) => {
  const planted = () => [];
  t.throws(() => createSchema(sdl, [...resolvers, { Query: { customers: planted } }]), /Query\.customers is not made/);
  t.throws(() => createSchema(sdl, [...resolvers, { Customer: { name: planted } }]), /Customer\.name is not made/);
  t.throws(
    () => createSchema(`${sdl}\nextend type Query { unguarded: Int }`, resolvers),
    /Query\.unguarded has no operation/,
  );
  t.throws(
    () => createSchema(`${sdl}\nextend type Metrics { unguarded: Int }`, resolvers),
    /Metrics\.unguarded has no operation/,
  );
  t.throws(
    () =>
      createSchema(`${sdl}\ntype Hole { through: Int }\nextend type Query { hole: Hole }`, [
        ...resolvers,
        { Query: { hole: group() } },
      ]),
    /Hole\.through has no operation/,
  );
  t.throws(() => createSchema(sdl, [{ Query: { missing: planted } }]), /no field Query\.missing/);
});
