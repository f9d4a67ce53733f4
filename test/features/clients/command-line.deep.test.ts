import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageRoot } from '../../../src/config.ts';
import { testApp } from '../../support/app.ts';
import { bundleTests } from '../../support/bundle.ts';
import { post, tokenFor, tried, within } from '../../support/oauth.ts';

t.test('the command line does what the addresses do', async (t) => {
  const api = await testApp(t, { accessRefresh: 100 });
  const bundles = join(packageRoot, '.tap', `clients-${process.pid}`);
  t.teardown(() => rm(bundles, { recursive: true, force: true }));
  const scripts = ['clients', 'keys'].map((name) => join(packageRoot, `scripts/${name}.ts`));
  const [clients = '', keys = ''] = await bundleTests(scripts, bundles);
  const run = async (script: string, ...args: string[]) => {
    const answer = await promisify(execFile)(process.execPath, [script, ...args], {
      cwd: packageRoot,
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: api.url,
        JWT_SIGNING_KEY_FILE: join(api.config.dataDir, 'signing-key.pem'),
        RAPPORT_ALLOW_UNSAFE_DATABASE: 'true',
      },
    }).catch((error: { stdout: string; stderr: string }) => error);
    return { out: answer.stdout, refusal: answer.stderr };
  };
  const made = await run(clients, 'create', '--name', 'Shop', '--scope', 'customers:read orders:read', '--ttl', '90');
  const [, id = '', secret = ''] = /^CLIENT_ID=(\S+)\nCLIENT_SECRET=(\S+)\n$/.exec(made.out) ?? [];
  t.ok(secret, made.refusal);
  const token = await tokenFor(api, { basic: [id, secret] });
  t.equal(await tried(api, token), 200);
  t.match((await run(clients, 'list')).out, new RegExp(`${id}.*Shop.*active.*customers:read orders:read`));
  const rotated = await run(clients, 'rotate-secret', id, '--revoke-others');
  const [, next = ''] = /CLIENT_SECRET=(\S+)/.exec(rotated.out) ?? [];
  t.equal((await post(api, '/oauth/token', { grant_type: 'client_credentials' }, [id, secret])).status, 401);
  t.equal((await post(api, '/oauth/token', { grant_type: 'client_credentials' }, [id, next])).status, 200);
  const [, last = ''] = /CLIENT_SECRET=(\S+)/.exec((await run(clients, 'rotate-secret', id)).out) ?? [];
  t.match((await run(clients, 'revoke-secret', id, 'none')).refusal, /No active secret of this client ends in none/);
  await run(clients, 'revoke-secret', id, next.slice(-4), '--keep-tokens');
  t.equal((await post(api, '/oauth/token', { grant_type: 'client_credentials' }, [id, next])).status, 401);
  t.equal((await post(api, '/oauth/token', { grant_type: 'client_credentials' }, [id, last])).status, 200);
  t.equal(await tried(api, token), 200, 'tokens of the old secret go on');
  t.match((await run(keys, 'rotate', '--signs-after', '600')).out, /^\S{43} signs from /);
  t.match((await run(keys, 'list')).out, /signing \(configuration\)[\s\S]*pending/);
  t.match((await run(clients, 'create', '--name', 'x', '--scope', 'all')).refusal, /scopes\/0/);
  await run(clients, 'revoke', id);
  await within(t, 'a running service hears of it', 401, () => tried(api, token));
});
