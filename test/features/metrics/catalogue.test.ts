import t from 'tap';
import { metricDefinitions } from '../../../src/features/metrics/definitions.ts';
import { routes } from '../../../src/features.ts';
import { testApp } from '../../support/app.ts';

/** The catalogue of metrics. That answers have nothing it does not tell of is checked whenever a test asks for a metric (support/app.ts). */

const api = await testApp(t);
const { body } = await api.request('GET', '/v1/metrics');
const catalogue: any[] = body.data;

t.test('every metric is in it once, under its address', async (t) => {
  const served = routes.flatMap(({ url }) => /^\/v1\/metrics\/([a-z-]+)$/.exec(url)?.[1] ?? []);
  t.same(catalogue.map(({ metric }) => metric).sort(), served.sort());
  t.same(Object.keys(metricDefinitions).sort(), served);
});

t.test('an entry says what it is, takes and answers', async (t) => {
  const churn = catalogue.find(({ metric }) => metric === 'churn-rate');
  t.match(churn, {
    definition: 'churn-rate@1',
    title: 'Churn rate',
    unit: 'ratio',
    groups: null,
    parameters: [{ name: 'from', type: 'text' }],
  });
  const parameter = (name: string) => churn.parameters.find((one: any) => one.name === name);
  t.match(parameter('variant'), { options: ['period', 'silence', 'gap'], default: 'period' });
  t.match(parameter('silenceDays'), { type: 'number', default: '90' });
  t.match(parameter('payment'), {
    options: ['all', 'paid'],
    default: 'all, with a warning where payments failed or were voided',
  });
  t.match(
    catalogue.find(({ metric }) => metric === 'revenue-per-customer'),
    { definition: 'revenue-per-customer@2', version: 2, unit: 'money' },
  );
  for (const { metric, description, formula, source, values, parameters, excluded } of catalogue) {
    for (const text of [description, formula, source]) t.ok(text.length > 10, metric);
    for (const one of [...values, ...parameters, ...excluded])
      t.ok(one.description.length > 5, `${metric} ${JSON.stringify(one)}`);
    t.equal(
      parameters.filter(({ description: says, default: told }: any) => /Default/.test(says) && told === null).length,
      0,
      `${metric}: every default is read`,
    );
  }
});

t.test('answers lead there', async (t) => {
  for (const { metric, definition, unit } of catalogue) {
    t.match((await api.request('GET', `/v1/metrics/${metric}`)).body, { metric, definition, unit });
  }
});

t.test('over GraphQL, and only for those who may', async (t) => {
  const { body } = await api.graphql(
    '{ metricCatalogue { data { metric definition unit parameters { name default } } } }',
  );
  t.same(
    body.data.metricCatalogue.data.map(({ metric }: any) => metric),
    catalogue.map(({ metric }) => metric),
  );
  t.equal((await api.request('GET', '/v1/metrics', { scope: 'orders:read' })).status, 403);
  t.equal((await api.request('GET', '/v1/metrics?name=x')).status, 422);
});
