import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { openChannel } from '../../src/platform/db/channel.ts';
import { testApp } from '../support/app.ts';
import { databaseProxy } from '../support/database-proxy.ts';
import { tokenFor, tried, within } from '../support/oauth.ts';

/** Several processes of one service: what one learns, the others know. */
const env = { RATE_LIMIT: '50', PUBLIC_RATE_LIMIT: '60' };
const first = await testApp(t, { env });
const second = await testApp(t, { env, beside: first, accessRefresh: 3_600_000 });

const remaining = (headers: Headers) => Number(/r=(\d+)/.exec(headers.get('RateLimit') ?? '')?.[1]);

/** Tries again when a second ended in the middle. */
async function withinOneSecond(attempt: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 20; tries += 1) {
    await sleep(1000 - (Date.now() % 1000));
    const second = Math.floor(Date.now() / 1000);
    const found = await attempt();
    if (found && Math.floor(Date.now() / 1000) === second) return true;
  }
  return false;
}

t.test('the limit of requests holds for all processes together', async (t) => {
  const held = await withinOneSecond(async () => {
    for (let n = 0; n < 20; n += 1) await first.request('GET', '/v1/campaigns', { client: 'busy' });
    await sleep(250);
    const { headers } = await second.request('GET', '/v1/campaigns', { client: 'busy' });
    const other = await second.request('GET', '/v1/campaigns', { client: 'quiet' });
    return remaining(headers) <= 50 - 21 && remaining(other.headers) === 49;
  });
  t.ok(held, 'what a client asked the one process, the other one counts, and for this client only');
});

t.test('a revoked token is refused by the process that was not told of it', async (t) => {
  const created = await first.request('POST', '/v1/clients', { body: { name: 'Shop', scopes: ['customers:read'] } });
  const { id } = created.body;
  const { secret } = (await first.request('POST', `/v1/clients/${id}/secrets`)).body;
  const token = await tokenFor(first, { basic: [id, secret] });
  t.equal(await tried(second, token), 200);
  const revoked = await first.request('POST', `/v1/clients/${id}/revoke-tokens`);
  t.equal(revoked.status, 200, JSON.stringify(revoked.body));
  await within(t, 'it hears of it from the other one', 401, () => tried(second, token));
});

t.test('a message that nobody understands harms nobody', async (t) => {
  const client = new pg.Client(first.connection);
  await client.connect();
  for (const payload of ['', 'x', '[]', '["a","requests",[1]]', '["a","requests",[9999999999,{"__proto__":1}]]']) {
    await client.query("SELECT pg_notify('rapport', $1)", [payload]);
  }
  await client.end();
  await sleep(200);
  t.equal((await first.request('GET', '/v1/campaigns')).status, 200);
});

t.test('that the connection was lost is in the log once, and once that it is back', async (t) => {
  const lines: string[] = [];
  const log = {
    warn: (_detail: object, message: string) => lines.push(`warn ${message}`),
    info: (message: string) => lines.push(`info ${message}`),
  };
  const proxy = await databaseProxy(t, first.connection);
  const channel = openChannel(proxy.connection, log as never);
  t.teardown(() => channel.close());
  const until = async (condition: () => boolean) => {
    for (let n = 0; n < 400 && !condition(); n += 1) await sleep(50);
  };
  await until(() => proxy.connected === 1);
  await sleep(300);
  const before = proxy.tries;
  proxy.cut();
  await until(() => proxy.tries - before >= 3);
  t.match(lines, [/^warn .* was lost$/], `once in ${proxy.tries - before} tries`);
  t.equal(lines.length, 1);
  proxy.open();
  await until(() => lines.length > 1);
  t.match(lines, [/^warn /, /^info .* is back$/]);
  proxy.cut();
  await until(() => lines.length > 2);
  t.match(lines, [/^warn /, /^info /, /^warn /], 'and the next time again');
});

t.test('a process that lost its connection hears again', async (t) => {
  const client = new pg.Client(first.connection);
  await client.connect();
  const ended = await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND query ~ '^(LISTEN rapport|SELECT pg_notify)' AND pid <> pg_backend_pid()`,
  );
  t.equal(ended.rowCount, 2);
  await client.end();
  const heard = await withinOneSecond(async () => {
    await first.request('GET', '/v1/campaigns', { client: 'again' });
    await sleep(250);
    const { headers } = await second.request('GET', '/v1/campaigns', { client: 'again' });
    return remaining(headers) === 48;
  });
  t.ok(heard);
});
