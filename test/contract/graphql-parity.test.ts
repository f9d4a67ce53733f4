import t from 'tap';
import { readSdl } from '../../src/app.ts';
import { resolvers, routes } from '../../src/features.ts';
import { group, operationsOf } from '../../src/platform/graphql/field.ts';
import { createSchema } from '../../src/platform/graphql/schema.ts';
import type { Operation } from '../../src/platform/operation.ts';

const sdl = readSdl();
const operations = new Map(routes.map(({ operation }) => [operation.name, operation]));

const fields = resolvers.flatMap((feature) =>
  Object.entries(feature).flatMap(([type, members]) =>
    Object.entries(members).map(([name, resolver]) => ({ type, name, operations: operationsOf(resolver) })),
  ),
);
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

t.test('what one door can do, the other can', async (t) => {
  const here = new Set(fields.flatMap(({ operations: behind }) => behind.map(({ name }) => name)));
  for (const name of Object.keys(setOperations)) if (here.has(name)) here.add(setOperations[name] ?? '');
  const ofFiles = (operation: Operation | undefined) =>
    operation?.kind === 'write' ? operation.upload !== undefined : operation?.document?.live === true;
  t.same(
    [...operations.keys()].filter((name) => !here.has(name) && !ofFiles(operations.get(name))),
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
