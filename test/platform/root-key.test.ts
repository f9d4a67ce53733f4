import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import t, { type Test } from 'tap';
import { packageRoot, readConfig } from '../../src/config.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { KeyError } from '../../src/platform/auth/signing-key.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { bundleTests } from '../support/bundle.ts';
import { runNode } from '../support/command.ts';
import { newKey } from '../support/shop.ts';

const bundles = join(packageRoot, '.tap', `root-key-${process.pid}`);
t.teardown(() => rm(bundles, { recursive: true, force: true }));
const [server = '', keys = ''] = await bundleTests(
  ['src/server.ts', 'scripts/keys.ts'].map((path) => join(packageRoot, path)),
  bundles,
);

const email = 'ann@example.org';
const order = (externalId: string) => ({
  source: 'shop',
  externalId,
  placedAt: '2026-03-01T10:00:00Z',
  currency: 'EUR',
  paymentStatus: 'paid',
  total: 1000,
  items: [{ sku: 'A', quantity: 1, total: 1000 }],
  customer: { email, name: 'Ann Example' },
});

/** A store in which Ann was erased. */
async function erasedStore(t: Test): Promise<{ api: TestApp; id: string }> {
  const api = await testApp(t);
  const { body } = await api.request('POST', '/v1/customers', {
    body: { name: 'Ann Example', identities: [{ kind: 'email', value: email }] },
    headers: newKey(),
  });
  const erased = await api.request('POST', `/v1/customers/${body.id}/erase`, { headers: newKey() });
  t.equal(erased.status, 200, JSON.stringify(erased.body));
  return { api, id: body.id };
}

/** The customer that an order of Ann's is given to. */
async function pushed({ request }: TestApp, externalId: string) {
  const { status, body } = await request('POST', '/v1/orders', { body: order(externalId), headers: newKey() });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { customerId: body.customerId, warnings: body.warnings.map(({ code }: { code: string }) => code) };
}

/** A directory with a key of its own in it. */
async function newKeys(t: Test): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'rapport-root-key-'));
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  await openKeys(readConfig({ RAPPORT_DATA_DIR: dataDir }));
  return dataDir;
}

/** The same database with the keys of another directory. */
const withKeysOf = (t: Test, api: TestApp, dataDir: string) =>
  testApp(t, { beside: { ...api, config: { ...api.config, dataDir } } });

const environment = (api: TestApp, keyFile: string) => ({
  DATABASE_URL: api.url,
  JWT_SIGNING_KEY_FILE: keyFile,
  RAPPORT_ALLOW_UNSAFE_DATABASE: 'true',
  PORT: '0',
});
const keyFileIn = (dataDir: string) => join(dataDir, 'signing-key.pem');

t.test('erased persons stay erased when the signing key is rotated', async (t) => {
  const { api, id } = await erasedStore(t);
  for (const externalId of ['before', 'after']) {
    t.strictSame(await pushed(api, externalId), { customerId: id, warnings: ['person_erased'] });
    const rotated = await api.request('POST', '/v1/signing-keys/rotate', { body: {}, headers: newKey() });
    t.ok(rotated.status < 300, JSON.stringify(rotated.body));
  }
  const replica = await testApp(t, { beside: api });
  t.strictSame(
    await pushed(replica, 'replica'),
    { customerId: id, warnings: ['person_erased'] },
    'the same key starts',
  );
});

t.test('with another root key the service refuses to start, and says what would be lost', async (t) => {
  const { api, id } = await erasedStore(t);
  const other = await newKeys(t);
  const says =
    /belongs to another root key.*erased persons would come back.*cursors.*links.*keys -- rotate.*accept-root --former/;
  await t.rejects(withKeysOf(t, api, other), { name: KeyError.name, message: says });
  const { code, output } = await runNode([server], environment(api, keyFileIn(other)));
  t.equal(code, 1);
  t.match(output, says);
  const rotate = await runNode([keys, 'rotate'], environment(api, keyFileIn(other)));
  t.equal(rotate.code, 1);
  t.match(rotate.output, says, 'commands, too');
  t.strictSame(await pushed(await testApp(t, { beside: api }), 'same'), {
    customerId: id,
    warnings: ['person_erased'],
  });
});

t.test('a replaced root key still recognises who was erased under the former ones', async (t) => {
  const { api, id } = await erasedStore(t);
  const [second, third] = [await newKeys(t), await newKeys(t)];
  const accept = (next: string, ...args: string[]) =>
    runNode([keys, 'accept-root', ...args], environment(api, keyFileIn(next)));
  t.match((await accept(second)).output, /either --former or --lose-erased/);
  t.match(await accept(second, '--former', keyFileIn(third)), { code: 1, output: /does not hold the former root key/ });
  t.match(await accept(second, '--former', keyFileIn(api.config.dataDir)), { code: 0, output: /still recognised/ });
  t.strictSame(await pushed(await withKeysOf(t, api, second), 'second'), {
    customerId: id,
    warnings: ['person_erased'],
  });
  t.match(await accept(third, '--former', keyFileIn(second)), { code: 0 });
  t.strictSame(await pushed(await withKeysOf(t, api, third), 'third'), {
    customerId: id,
    warnings: ['person_erased'],
  });
  await t.rejects(withKeysOf(t, api, api.config.dataDir), KeyError, 'the first key is none any more');

  t.match(await accept(second, '--lose-erased'), { code: 0, output: /no longer recognised/ });
  t.strictNotSame((await pushed(await withKeysOf(t, api, second), 'lost')).customerId, id);
});

t.test('a store of the version before notes the key of its first start', async (t) => {
  const { api } = await erasedStore(t);
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  await database.query(`delete from deployment_settings where key = 'ROOT_KEY'`);
  await Promise.all([testApp(t, { beside: api }), testApp(t, { beside: api })]);
  const { rows } = await database.query(`select value from deployment_settings where key = 'ROOT_KEY'`);
  t.match(rows, [{ value: /^[\w-]{43}$/ }]);
  await t.rejects(withKeysOf(t, api, await newKeys(t)), KeyError);
});
