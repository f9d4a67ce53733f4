import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import Fastify from 'fastify';
import t, { type Test } from 'tap';
import { type Config, readConfig } from '../../src/config.ts';
import {
  type AccessDirectory,
  accessDirectory,
  fixedDirectory,
  type PartnerSettings,
} from '../../src/platform/auth/directory.ts';
import { issueToken } from '../../src/platform/auth/issue-token.ts';
import { type Keys, openKeys } from '../../src/platform/auth/keys.ts';
import { KeyError, readSigningKey, type SigningKey } from '../../src/platform/auth/signing-key.ts';
import { Problem } from '../../src/platform/errors.ts';
import { addAuthentication, createVerifier, requireToken } from '../../src/platform/http/auth.ts';

type Json = Record<string, unknown>;

const now = () => Math.floor(Date.now() / 1000);

function pem(key: KeyObject): string {
  return key.export({ type: key.type === 'private' ? 'pkcs8' : 'spki', format: 'pem' }).toString();
}

const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const ed = () => generateKeyPairSync('ed25519').privateKey;
const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;

function claims(over: Json = {}): Json {
  return {
    iss: 'rapport',
    aud: 'rapport',
    sub: 'shop',
    client_id: 'shop',
    iat: now(),
    exp: now() + 600,
    scope: 'orders:write',
    ...over,
  };
}

/** A token of any shape: the header and claims as they are given, signed as `signer` does. */
function forge(header: Json | string, payload: Json | string | Buffer, signer: (content: string) => Buffer): string {
  const part = (value: Json | string | Buffer) =>
    (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
      'base64url',
    );
  const content = `${part(header)}.${part(payload)}`;
  return `${content}.${signer(content).toString('base64url')}`;
}

const es256 = (key: KeyObject) => (content: string) =>
  sign('sha256', Buffer.from(content), { key, dsaEncoding: 'ieee-p1363' });
const rs256 = (key: KeyObject) => (content: string) => sign('sha256', Buffer.from(content), key);
const hs256 = (secret: string | Buffer) => (content: string) => createHmac('sha256', secret).update(content).digest();

interface Answer {
  status: number;
  challenge: string | undefined;
  retryAfter: string | undefined;
  body: Json;
}

/** The plugin in front of one route, behind a real socket. */
async function serve(
  t: Test,
  config: Config,
  keys: Keys,
  directory?: AccessDirectory,
): Promise<(headers: [string, string][], path?: string) => Promise<Answer>> {
  const app = Fastify();
  app.setErrorHandler((error, _request, reply) => {
    const problem = error instanceof Problem ? error : new Problem('internal_error', String(error));
    return reply.code(problem.status).headers(problem.headers).send(problem.toBody('test'));
  });
  await addAuthentication(app, config, keys, directory);
  await app.register(async (guarded) => {
    guarded.addHook('onRequest', requireToken);
    guarded.get('/', (request) => ({
      client: request.principal.client,
      scopedTo: request.principal.scopedTo,
      scopes: [...request.principal.scopes],
      reads: request.principal.has('orders:read'),
      writes: request.principal.has('orders:write'),
    }));
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo; // listening on TCP
  return (headers, path = '/') =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ port, host: '127.0.0.1', path }, async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve({
          status: response.statusCode ?? 0,
          challenge: response.headers['www-authenticate'],
          retryAfter: response.headers['retry-after'],
          body: JSON.parse(text),
        });
      });
      request.on('error', reject);
      for (const name of new Set(headers.map(([name]) => name))) {
        request.setHeader(
          name,
          headers.filter(([other]) => other === name).map(([, value]) => value),
        );
      }
      request.end();
    });
}

async function own(t: Test): Promise<{ config: Config; keys: Keys; key: SigningKey }> {
  const config = readConfig({ RAPPORT_DATA_DIR: t.testdir() });
  const keys = await openKeys(config);
  if (!keys.signing) throw new Error('The service has a key of its own here');
  return { config, keys, key: keys.signing };
}

const bearer = (token: string): [string, string][] => [['authorization', `Bearer ${token}`]];

t.test('a token of the service opens the door, with the scopes it carries', async (t) => {
  const { config, keys, key } = await own(t);
  const get = await serve(t, config, keys);
  const token = issueToken(config, key, { scope: 'orders:read customers:read', client: 'shop', ttl: 60 });
  const answer = await get(bearer(token));
  t.strictSame(answer.body, {
    client: 'shop',
    scopedTo: null,
    scopes: ['orders:read', 'customers:read'],
    reads: true,
    writes: false,
  });
  t.strictSame((await get(bearer(token))).body, answer.body, 'again, from the cache');
  t.equal((await get([['Authorization', `bearer ${token}`]])).status, 200, 'the scheme in any case');
  const all = issueToken(config, key, { scope: '*', client: 'admin', ttl: 60 });
  t.match((await get(bearer(all))).body, { reads: true, writes: true }, '* grants every scope');
  for (const over of [
    { aud: ['other', 'rapport'] },
    { scope: undefined, scp: ['orders:write'] },
    { client_id: undefined, azp: 'shop', sub: 'user' },
    { nbf: now() - 10 },
  ]) {
    const other = forge({ alg: 'ES256', typ: 'application/AT+JWT', kid: key.kid }, claims(over), es256(key.privateKey));
    t.match((await get(bearer(other))).body, { client: 'shop', writes: true }, JSON.stringify(over));
  }
});

t.test('no token and no bearer token are told apart', async (t) => {
  const { config, keys, key } = await own(t);
  const get = await serve(t, config, keys);
  const token = issueToken(config, key, { scope: '*', client: 'shop', ttl: 60 });
  t.match(await get([]), { status: 401, challenge: /^Bearer realm="rapport"$/, body: { code: 'unauthenticated' } });
  t.match(await get([], `/?access_token=${token}`), { status: 401, challenge: /^Bearer realm="rapport"$/ });
  t.match(
    await get([
      ['authorization', `Bearer ${token}`],
      ['authorization', 'Bearer other'],
    ]),
    { status: 401, challenge: /error="invalid_request"/ },
    'two headers, the first of them good',
  );
  for (const header of [
    token,
    'Bearer',
    'Bearer ',
    `Basic ${token}`,
    `Bearer ${token}, Bearer ${token}`,
    `Bearer ${token} x`,
    'Bearer a.b.c',
    'Bearer garbage',
    `Bearer ${token.replace('.', '..')}`,
    `Bearer ${'a'.repeat(9000)}.b.c`,
  ]) {
    t.match(
      await get([['authorization', header]]),
      { status: 401, challenge: /^Bearer realm="rapport", error="invalid_token", error_description="[^"]+"$/ },
      header.slice(0, 40),
    );
  }
});

t.test('whatever is wrong with a token, it is refused', async (t) => {
  const { config, keys, key } = await own(t);
  const get = await serve(t, config, keys);
  const good = es256(key.privateKey);
  const header = { alg: 'ES256', typ: 'at+jwt', kid: key.kid };
  const stranger = ec();
  const { kid: _, ...nameless } = header;
  const jwk = createPublicKey(stranger).export({ format: 'jwk' });
  const { exp: _exp, ...endless } = claims();
  const { iss: _iss, ...anonymous } = claims();
  const { aud: _aud, ...aimless } = claims();
  const bad: Record<string, string> = {
    expired: forge(header, claims({ exp: now() - 1 }), good),
    'expiring now': forge(header, claims({ exp: now() }), good),
    'not yet valid': forge(header, claims({ nbf: now() + 60 }), good),
    'nbf beyond every date': forge(
      header,
      '{"iss":"rapport","aud":"rapport","client_id":"x","exp":9e9,"nbf":1e999}',
      good,
    ),
    'exp as a string': forge(header, claims({ exp: String(now() + 60) }), good),
    'exp null': forge(header, claims({ exp: null }), good),
    'no exp': forge(header, endless, good),
    'no iss': forge(header, anonymous, good),
    'no aud': forge(header, aimless, good),
    'wrong iss': forge(header, claims({ iss: 'rapport2' }), good),
    'iss as a list': forge(header, claims({ iss: ['rapport'] }), good),
    'wrong aud': forge(header, claims({ aud: 'other' }), good),
    'wrong aud list': forge(header, claims({ aud: ['other', 'rapports'] }), good),
    'empty aud list': forge(header, claims({ aud: [] }), good),
    'nbf as a string': forge(header, claims({ nbf: String(now() - 60) }), good),
    'iat as a string': forge(header, claims({ iat: String(now()) }), good),
    'iat null': forge(header, claims({ iat: null }), good),
    'iat in the future': forge(header, claims({ iat: now() + 120 }), good),
    'jti as a number': forge(header, claims({ jti: 1 }), good),
    'sub as a list': forge(header, claims({ sub: ['shop'] }), good),
    'exp as NaN': forge(header, '{"iss":"rapport","aud":"rapport","client_id":"x","exp":NaN}', good),
    'exp twice, the last one past': forge(header, twice('exp', now() + 60, now() - 60), good),
    'aud twice, the last one foreign': forge(header, twice('aud', 'rapport', 'other'), good),
    'iss twice, the last one foreign': forge(header, twice('iss', 'rapport', 'other'), good),
    'alg twice, the last one none': forge('{"alg":"ES256","typ":"at+jwt","alg":"none"}', claims(), good),
    'claims in Latin-1': forge(header, Buffer.from(JSON.stringify(claims({ client_id: 'Café' })), 'latin1'), good),
    'claims in UTF-16': forge(header, Buffer.from(JSON.stringify(claims()), 'utf16le'), good),
    'claims behind a byte order mark': forge(header, `\ufeff${JSON.stringify(claims())}`, good),
    'claims nested deeply': forge(header, '['.repeat(5_000), good),
    'no client': forge(header, claims({ sub: undefined, client_id: undefined }), good),
    'client with NUL': forge(header, claims({ client_id: 'a\u0000b' }), good),
    'scope as a number': forge(header, claims({ scope: 1 }), good),
    'alg none': forge({ alg: 'none', typ: 'at+jwt' }, claims(), () => Buffer.alloc(0)),
    'alg none with a signature': forge({ ...header, alg: 'none' }, claims(), good),
    'alg None': forge({ ...header, alg: 'nOnE' }, claims(), good),
    'no signature': forge(header, claims(), () => Buffer.alloc(0)),
    'HS256 with the public key': forge({ ...header, alg: 'HS256' }, claims(), hs256(key.publicKey)),
    'HS256 with the trimmed public key': forge({ ...nameless, alg: 'HS256' }, claims(), hs256(key.publicKey.trim())),
    'HS256 with an empty secret': forge({ ...header, alg: 'HS256' }, claims(), hs256('')),
    'another key under the same name': forge(header, claims(), es256(stranger)),
    'another key without a name': forge(nameless, claims(), es256(stranger)),
    'an unknown name': forge({ ...header, kid: 'other' }, claims(), good),
    'a name that is a path': forge({ ...header, kid: '../../../dev/null' }, claims(), good),
    'a name that is SQL': forge({ ...header, kid: "x' union select 'key" }, claims(), good),
    'a name of the prototype': forge({ ...header, kid: '__proto__' }, claims(), good),
    'an empty name': forge({ ...header, kid: '' }, claims(), good),
    'a name that is no text': forge({ ...header, kid: 1 }, claims(), good),
    'a name that is null': forge({ ...header, kid: null }, claims(), good),
    'a name without end': forge({ ...header, kid: 'k'.repeat(256) }, claims(), good),
    'another algorithm': forge({ ...header, alg: 'RS256' }, claims(), rs256(rsa(2048))),
    'a list of algorithms': forge({ ...header, alg: ['ES256'] }, claims(), good),
    crit: forge({ ...header, crit: ['exp'] }, claims(), good),
    'crit with an extension': forge({ ...header, crit: ['b64'], b64: true }, claims(), good),
    'b64 that nobody demands': forge({ ...header, b64: false }, claims(), good),
    'empty crit': forge({ ...header, crit: [] }, claims(), good),
    'crit null': forge({ ...header, crit: null }, claims(), good),
    jku: forge({ ...header, jku: 'https://evil.example/jwks' }, claims(), good),
    jwk: forge({ ...header, jwk }, claims(), es256(stranger)),
    x5u: forge({ ...header, x5u: 'https://evil.example/cert' }, claims(), good),
    x5c: forge({ ...header, x5c: ['MIIB'] }, claims(), good),
    'a nested token': forge({ ...header, cty: 'JWT' }, forge(header, claims(), good), good),
    'an encrypted token': `${forge(header, claims(), good)}.AAAA.AAAA`,
    'a token of a logout': forge({ ...header, typ: 'logout+jwt' }, claims(), good),
    'a security event': forge({ ...header, typ: 'secevent+jwt' }, claims(), good),
    'a proof of possession': forge({ ...header, typ: 'dpop+jwt' }, claims(), good),
    'typ with more behind it': forge({ ...header, typ: 'at+jwt2' }, claims(), good),
    'typ JWT': forge({ ...header, typ: 'JWT' }, claims(), good),
    'no typ': forge({ alg: 'ES256', kid: key.kid }, claims(), good),
    'an id token': forge({ ...header, typ: 'id_token' }, claims(), good),
    'claims that are a list': forge(header, '[]', good),
    'claims that are no JSON': forge(header, '{', good),
    'changed claims': changed(forge(header, claims(), good)),
    'a DER signature': forge(header, claims(), (content) => sign('sha256', Buffer.from(content), key.privateKey)),
    'a signature of zeros': forge(header, claims(), () => Buffer.alloc(64)),
  };
  t.equal((await get(bearer(forge(nameless, claims(), good)))).status, 200, 'what they are changed from is good');
  for (const [what, token] of Object.entries(bad)) {
    const answer = await get(bearer(token));
    t.match(answer, { status: 401, body: { code: 'unauthenticated' }, challenge: /error="invalid_token"/ }, what);
    t.equal((await get(bearer(token))).status, 401, `${what}, again`);
  }
});

/** Claims with one of them twice: JSON takes the last, and so does everything that is checked. */
function twice(name: string, first: unknown, last: unknown): string {
  const rest = JSON.stringify(claims({ [name]: undefined })).slice(1);
  return `{"${name}":${JSON.stringify(first)},"${name}":${JSON.stringify(last)},${rest}`;
}

function changed(token: string): string {
  const [header, payload, signature] = token.split('.');
  const read = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
  return [header, Buffer.from(JSON.stringify({ ...read, scope: '*' })).toString('base64url'), signature].join('.');
}

t.test('a token is scoped to the partner or the customer that it names', async (t) => {
  const { config, keys, key } = await own(t);
  const one = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  const suspended = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b91';
  const settings = { status: 'active', fields: [], minimumGroupSize: 10 } as const;
  const partners = new Map<string, PartnerSettings>([
    [one, settings],
    [suspended, { ...settings, status: 'suspended' }],
  ]);
  const get = await serve(t, config, keys, fixedDirectory({ partners }));
  const header = { alg: 'ES256', typ: 'at+jwt', kid: key.kid };
  const scoped = (over: Json) => forge(header, claims({ ...over, scope: '*' }), es256(key.privateKey));
  for (const kind of ['partner', 'customer'] as const) {
    const expected = { scopedTo: { kind, id: one }, reads: true };
    for (const time of ['first', 'second']) {
      t.match((await get(bearer(scoped({ [kind]: one })))).body, expected, `${kind} ${time}`);
    }
    t.match((await get(bearer(scoped({ [kind]: one.toUpperCase() })))).body, expected, 'in lower case');
    const issued = issueToken(config, key, { scope: '*', client: 'shop', ttl: 60, [kind]: one });
    t.match((await get(bearer(issued))).body, expected, 'as the service issues it');
  }
  for (const over of [
    { partner: 'p1' },
    { partner: suspended },
    { partner: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b92' },
    { customer: `${one} ` },
    { customer: null },
    { customer: '' },
    { partner: false },
    { partner: [one] },
    { customer: { id: one } },
    { partner: one, customer: one },
  ]) {
    t.match(
      await get(bearer(scoped(over))),
      { status: 401, body: { code: 'unauthenticated' }, challenge: /error="invalid_token"/ },
      JSON.stringify(over),
    );
  }
});

t.test('a revoked token is refused in every spelling', async (t) => {
  const { config, keys, key } = await own(t);
  const start = now();
  const directory = fixedDirectory({
    revoked: new Set(['gone']),
    issuedFrom: new Map([
      ['late', start + 1],
      ['disabled', Number.POSITIVE_INFINITY],
      ['early', now() - 60],
    ]),
  });
  const get = await serve(t, config, keys, directory);
  const header = { alg: 'ES256', typ: 'at+jwt', kid: key.kid };
  const token = (over: Json) => forge(header, claims(over), es256(key.privateKey));
  const status = async (text: string) => (await get(bearer(text))).status;
  t.equal(await status(token({ jti: 'here' })), 200);
  const gone = token({ jti: 'gone' });
  t.match(await get(bearer(gone)), { status: 401, challenge: /error="invalid_token".*revoked/ });
  const twin = malleable(gone);
  t.equal(await status(malleable(token({ jti: 'here' }))), 200, 'a signature has a twin that is as good');
  t.equal(await status(twin), 401, 'which does not help');
  t.equal(await status(token({ jti: 'gone', client_id: 'other' })), 401);
  t.equal(
    await status(token({ client_id: 'late', iat: start })),
    401,
    'issued before the client’s tokens were revoked',
  );
  t.equal(await status(token({ client_id: 'late', iat: start + 1 })), 200, 'and after');
  t.equal(await status(token({ client_id: 'early' })), 200);
  t.equal(await status(token({ client_id: 'early', iat: undefined })), 401, 'nobody knows when');
  t.equal(await status(token({ client_id: 'disabled', iat: now() + 30 })), 401);
});

/** The other signature of ECDSA over the same content: s and n − s are both right. */
function malleable(token: string): string {
  const [header, payload, signature = ''] = token.split('.');
  const bytes = Buffer.from(signature, 'base64url');
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const twin = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  return [header, payload, twin.toString('base64url')].join('.');
}

t.test('what was remembered is looked at again when the directory changes', async (t) => {
  const { config, keys, key } = await own(t);
  let revoked = new Set<string>();
  let broken = false;
  const records = { keys: [], issuedFrom: new Map(), partners: new Map() };
  let asked = 0;
  const directory = accessDirectory(
    async () => {
      asked += 1;
      if (broken) throw new Error('away');
      return { ...records, revoked };
    },
    { period: 3_600_000 },
  );
  t.teardown(() => directory.close());
  const get = await serve(t, config, keys, directory);
  const header = { alg: 'ES256', typ: 'at+jwt', kid: key.kid };
  const token = forge(header, claims({ jti: 'one' }), es256(key.privateKey));
  const status = async (text: string) => (await get(bearer(text))).status;
  for (let i = 0; i < 5; i += 1) t.equal(await status(token), 200);
  t.equal(asked, 1, 'a token is a look-up in memory');
  revoked = new Set(['one']);
  t.equal(await status(token), 200, 'not read again yet');
  await directory.refresh();
  t.equal(await status(token), 401);
  revoked = new Set();
  await directory.refresh();
  t.equal(await status(token), 200);

  const before = asked;
  const strangers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      status(forge({ ...header, kid: `unknown ${i}` }, claims(), es256(key.privateKey))),
    ),
  );
  t.ok(strangers.every((one) => one === 401));
  t.equal(asked, before + 1, 'names that nobody knows make it look once a second');
  broken = true;
  await t.rejects(directory.refresh(), { code: 'unavailable' });
  t.equal(await status(token), 200, 'what is known is good for a minute');

  const [first, second] = [directory.refresh().catch(() => 'first'), directory.refresh().catch(() => 'second')];
  t.strictSame(await Promise.all([first, second]), ['first', 'second']);
  broken = false;
  const reading = directory.refresh();
  revoked = new Set(['one']);
  await directory.refresh();
  t.equal(await status(token), 401, 'a change during a reading is in the next one');
  await reading;
});

t.test('a key of the directory verifies its own algorithm, and nothing else', async (t) => {
  const { config, keys } = await own(t);
  const rotated = readSigningKey(pem(ec()), 'rotated');
  const get = await serve(t, config, keys, fixedDirectory({ keys: [{ ...rotated, signsFrom: 0 }] }));
  const header = { alg: 'ES256', typ: 'at+jwt', kid: rotated.kid };
  const status = async (text: string) => (await get(bearer(text))).status;
  t.equal(await status(forge(header, claims(), es256(rotated.privateKey))), 200);
  t.equal(
    await status(forge({ ...header, kid: undefined }, claims(), es256(rotated.privateKey))),
    401,
    'it has to be named',
  );
  t.equal(
    await status(forge(header, claims(), es256(keys.signing?.privateKey ?? ec()))),
    401,
    'the other key in its name',
  );
  for (const secret of [rotated.publicKey, rotated.publicKey.trim(), '']) {
    t.equal(
      await status(forge({ ...header, alg: 'HS256' }, claims(), hs256(secret))),
      401,
      'its public part is no secret',
    );
  }
  for (const alg of ['none', 'RS256', 'PS256', 'EdDSA', 'ES384', 'ES256K', 'es256']) {
    t.equal(await status(forge({ ...header, alg }, claims(), es256(rotated.privateKey))), 401, alg);
  }
});

t.test('a remembered token does not outlive its exp', async (t) => {
  const { config, keys, key } = await own(t);
  const get = await serve(t, config, keys);
  const token = forge(
    { alg: 'ES256', typ: 'at+jwt', kid: key.kid },
    claims({ exp: Date.now() / 1000 + 0.5 }),
    es256(key.privateKey),
  );
  t.equal((await get(bearer(token))).status, 200);
  t.equal((await get(bearer(token))).status, 200);
  await sleep(600);
  t.match(await get(bearer(token)), { status: 401, challenge: /expired/ });
});

t.test('a remembered token is answered without a promise', async (t) => {
  const { config, keys, key } = await own(t);
  const verify = await createVerifier(config, keys);
  const header = `Bearer ${issueToken(config, key, { scope: 'a b', client: 'shop', ttl: 60 })}`;
  t.equal(await verify(header), verify(header), 'the very same principal');
});

t.test('the memory of tokens is bounded', async (t) => {
  const { config, keys, key } = await own(t);
  const verify = await createVerifier(config, keys);
  const header = (client: string) => `Bearer ${issueToken(config, key, { scope: 'a', client, ttl: 60 })}`;
  const first = header('first');
  const principal = await verify(first);
  for (let i = 0; i < 2_000; i += 1) await verify(header(`client ${i}`));
  t.not(await verify(first), principal, 'the oldest has gone');
});

t.test('the key of the service', async (t) => {
  t.test('is made once, privately, however many start at the same time', async (t) => {
    const dir = join(t.testdir(), 'data');
    const config = readConfig({ RAPPORT_DATA_DIR: dir });
    const all = await Promise.all(Array.from({ length: 8 }, () => openKeys(config)));
    const again = await openKeys(config);
    t.equal(new Set([...all, again].map((keys) => keys.signing?.kid)).size, 1, 'one key');
    t.equal(new Set([...all, again].map((keys) => keys.cursorSecret.toString('hex'))).size, 1, 'one cursor secret');
    t.equal(again.cursorSecret.length, 32);
    t.strictSame(await readdir(dir), ['signing-key.pem'], 'no drafts are left');
    t.equal((await stat(join(dir, 'signing-key.pem'))).mode & 0o777, 0o600);
    t.equal(
      createPrivateKey(await readFile(join(dir, 'signing-key.pem'))).asymmetricKeyType,
      'ec',
      'a normal PEM file',
    );
  });

  t.test('may be given as a file: EC, Ed25519 or RSA', async (t) => {
    const dir = t.testdir();
    for (const [algorithm, key] of [
      ['ES256', ec()],
      ['EdDSA', ed()],
      ['RS256', rsa(2048)],
    ] as const) {
      const file = join(dir, `${algorithm}.pem`);
      await writeFile(file, pem(key));
      const config = readConfig({ JWT_SIGNING_KEY_FILE: file, DATABASE_URL: 'postgres://x/y' });
      const keys = await openKeys(config);
      const verify = await createVerifier(config, keys);
      if (!keys.signing) throw new Error('no signing key');
      const token = issueToken(config, keys.signing, { scope: 'x', client: 'shop', ttl: 60 });
      t.match(JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()), {
        alg: algorithm,
        typ: 'at+jwt',
      });
      t.equal((await verify(`Bearer ${token}`)).client, 'shop', algorithm);
      const confused = forge(
        { alg: 'HS256', typ: 'at+jwt', kid: keys.signing.kid },
        claims(),
        hs256(keys.signing.publicKey),
      );
      t.throws(() => verify(`Bearer ${confused}`), { code: 'unauthenticated' }, `${algorithm} → HS256`);
    }
    const config = readConfig({ JWT_SIGNING_KEY_FILE: join(dir, 'ES256.pem'), CURSOR_SECRET: 'a'.repeat(32) });
    const other = readConfig({ JWT_SIGNING_KEY_FILE: join(dir, 'EdDSA.pem'), CURSOR_SECRET: 'a'.repeat(32) });
    t.strictSame((await openKeys(config)).cursorSecret, (await openKeys(other)).cursorSecret, 'CURSOR_SECRET decides');
    await t.rejects(openKeys(readConfig({ JWT_SIGNING_KEY_FILE: join(dir, 'none.pem') })), KeyError);
  });

  t.test('is refused when it is weak, public, of another kind or damaged', async (t) => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    const encrypted = ec().export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString();
    const bad = [
      pem(rsa(1024)),
      pem(p384),
      pem(createPublicKey(ec())),
      encrypted,
      'secret',
      pem(ec()).replace(/MI[A-Z]/, 'AAA'),
    ];
    for (const text of bad)
      t.throws(() => readSigningKey(text, 'key.pem'), { name: 'KeyError', message: /^key\.pem / });
  });

  t.test('signs the same cursors when it is read again, other cursors when it is another', async (t) => {
    const secret = async (name: string, text: string) => {
      const file = join(t.testdirName, name);
      await mkdir(t.testdirName, { recursive: true });
      await writeFile(file, text);
      return (await openKeys(readConfig({ JWT_SIGNING_KEY_FILE: file }))).cursorSecret;
    };
    const text = pem(ec());
    t.strictSame(await secret('a.pem', text), await secret('b.pem', `# a comment\n${text}`));
    t.notSame(await secret('a.pem', text), await secret('c.pem', pem(ec())));
  });
});

function jwkOf(key: KeyObject, kid: string, more: Json = {}): Json {
  return { ...createPublicKey(key).export({ format: 'jwk' }), kid, use: 'sig', ...more };
}

const providerHeader = (alg: string, kid?: string) => ({ alg, typ: 'at+jwt', ...(kid !== undefined && { kid }) });

t.test('the keys of an outside provider in a file', async (t) => {
  const file = join(t.testdir(), 'jwks.json');
  const publish = async (keys: Json[]) => {
    await writeFile(`${file}.new`, JSON.stringify({ keys }));
    await rename(`${file}.new`, file);
  };
  const config = readConfig({
    JWT_JWKS_URL: pathToFileURL(file).href,
    JWT_ISSUER: 'rapport',
    RAPPORT_DATA_DIR: join(t.testdirName, 'data'),
  });
  const keys = await openKeys(config);
  t.equal(keys.signing, null);
  t.strictSame(keys.cursorSecret, (await openKeys(config)).cursorSecret, 'the cursor secret is kept');
  t.equal((await stat(join(t.testdirName, 'data', 'cursor-secret'))).mode & 0o777, 0o600);
  const get = await serve(t, config, keys);
  const status = async (token: string) => (await get(bearer(token))).status;
  const [one, two, weak, big] = [ec(), ec(), rsa(1024), rsa(2048)];
  const token = (key: KeyObject, kid: string | undefined, client: string) =>
    forge(providerHeader('ES256', kid), claims({ client_id: client }), es256(key));

  t.match(
    await get(bearer(token(one, 'one', 'early'))),
    { status: 503, retryAfter: /^\d+$/, body: { code: 'unavailable' } },
    'no file yet',
  );
  await sleep(1_100);
  await publish([jwkOf(one, 'one')]);
  t.equal(await status(token(one, 'one', 'a')), 200);
  t.equal(await status(token(one, undefined, 'a')), 200, 'the only key needs no name');
  t.equal(await status(token(two, 'one', 'a')), 401, 'another key under its name');
  t.equal(await status(token(two, 'two', 'a')), 401, 'not known yet');

  await publish([jwkOf(one, 'one'), jwkOf(two, 'two')]);
  t.equal(await status(token(two, 'two', 'b')), 200, 'a new key is known at once');
  t.equal(await status(token(one, 'one', 'b')), 200, 'beside the old one');
  t.equal(await status(token(one, undefined, 'b')), 401, 'of two keys the token has to name one');
  await publish([jwkOf(two, 'two')]);
  t.equal(await status(token(one, 'one', 'c')), 401, 'a withdrawn key is gone');
  t.equal(await status(token(two, 'two', 'c')), 200);

  await publish([
    jwkOf(weak, 'weak'),
    jwkOf(one, 'encryption', { use: 'enc' }),
    jwkOf(big, 'big', { alg: 'RS256' }),
    { kty: 'oct', kid: 'secret', k: Buffer.from('secret').toString('base64url') },
    { kty: 'EC', kid: 'broken', crv: 'P-256', x: 'AA', y: 'AA' },
    jwkOf(two, 'two', { d: 'never read' }),
  ]);
  t.equal(await status(token(two, 'two', 'd')), 200, 'keys of no use do not spoil the others');
  t.equal(await status(token(one, 'encryption', 'd')), 401);
  t.equal(await status(forge(providerHeader('RS256', 'weak'), claims(), rs256(weak))), 401);
  t.equal(await status(forge(providerHeader('RS256', 'big'), claims(), rs256(big))), 200);
  t.equal(
    await status(forge(providerHeader('PS256', 'big'), claims(), rs256(big))),
    401,
    'the key is for another algorithm',
  );
  t.equal(await status(forge(providerHeader('HS256', 'secret'), claims(), hs256('secret'))), 401);
  t.equal(await status(forge(providerHeader('HS256', 'big'), claims(), hs256(pem(createPublicKey(big))))), 401);

  await rm(file);
  t.equal(await status(token(two, 'two', 'e')), 200, 'what was read within the last minute still counts');
});

t.test('the keys of an outside provider over HTTP', async (t) => {
  const key = ec();
  let asked = 0;
  let answer: () => { status: number; body: string; headers?: Record<string, string> } = () => ({
    status: 200,
    body: JSON.stringify({ keys: [jwkOf(key, 'k')] }),
  });
  const provider = createServer((_request, response) => {
    asked += 1;
    const { status, body, headers } = answer();
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  t.teardown(() => provider.close());
  const { port } = provider.address() as AddressInfo; // listening on TCP
  const url = `http://127.0.0.1:${port}/jwks`;
  const start = async () => {
    const config = readConfig({ JWT_JWKS_URL: url, JWT_ISSUER: 'rapport', CURSOR_SECRET: 'a'.repeat(32) });
    return serve(t, config, await openKeys(config));
  };
  const token = (kid: string, signer = key) =>
    bearer(forge(providerHeader('ES256', kid), claims({ jti: String(Math.random()) }), es256(signer)));

  const get = await start();
  const first = await Promise.all(Array.from({ length: 10 }, () => get(token('k'))));
  t.ok(first.every(({ status }) => status === 200));
  t.equal(asked, 1, 'asked once for all');
  const strangers = await Promise.all(Array.from({ length: 10 }, (_, i) => get(token(`unknown ${i}`))));
  t.ok(strangers.every(({ status }) => status === 401));
  t.equal(asked, 1, 'names that nobody knows do not make it ask again and again');

  const failures: Record<string, typeof answer> = {
    'a failure': () => ({ status: 500, body: '{}' }),
    'a page': () => ({ status: 200, body: '<html>' }),
    'another document': () => ({ status: 200, body: '{"keys": 1}' }),
    'something endless': () => ({ status: 200, body: ' '.repeat(2_000_000) }),
    'a redirect': () => ({ status: 302, body: '', headers: { location: 'http://169.254.169.254/' } }),
  };
  for (const [what, failure] of Object.entries(failures)) {
    answer = failure;
    t.match(await (await start())(token('k')), { status: 503, retryAfter: '5', body: { code: 'unavailable' } }, what);
  }
  const orphaned = await start();
  provider.closeAllConnections();
  await new Promise((resolve) => provider.close(resolve));
  t.match(await orphaned(token('k')), { status: 503, body: { code: 'unavailable' } }, 'away');
  t.equal((await get(token('k'))).status, 200, 'keys of the last minute are still good');
});

t.test('the claims of an outside provider mean what the configuration says', async (t) => {
  const dir = t.testdir();
  const key = ec();
  const file = join(dir, 'jwks.json');
  await writeFile(file, JSON.stringify({ keys: [jwkOf(key, 'k')] }));
  const partner = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  const map = {
    client: ['azp', 'app.id'],
    scopes: {
      'realm_access.roles': { 'crm-reader': ['orders:read', 'customers:read'], 'crm-admin': ['*'] },
      'https://shop.example/scopes': 'verbatim',
    },
    partner: 'https://shop.example/partner',
    customer: 'resource.customer',
  };
  const configured = (text: string) =>
    readConfig({
      JWT_JWKS_URL: pathToFileURL(file).href,
      JWT_ISSUER: 'rapport',
      CURSOR_SECRET: 'a'.repeat(32),
      JWT_CLAIM_MAP: text,
    });
  await writeFile(join(dir, 'map.json'), JSON.stringify(map));
  const config = configured(JSON.stringify(map));
  t.strictSame(configured(join(dir, 'map.json')).jwtClaimMap, config.jwtClaimMap, 'inline or in a file');
  const partners = new Map([[partner, { status: 'active', fields: [], minimumGroupSize: 10 } as const]]);
  const get = await serve(t, config, await openKeys(config), fixedDirectory({ partners }));
  const base = { iss: 'rapport', aud: 'rapport', sub: 'user', iat: now(), exp: now() + 60 };
  const ask = (over: Json) =>
    get(bearer(forge(providerHeader('ES256', 'k'), { ...base, azp: 'shop', ...over }, es256(key))));

  t.match((await ask({ realm_access: { roles: ['crm-reader', 'offline', 'crm-reader'] } })).body, {
    client: 'shop',
    scopes: ['orders:read', 'customers:read'],
    scopedTo: null,
    writes: false,
  });
  t.match((await ask({ realm_access: { roles: 'crm-admin' } })).body, { scopes: ['*'], writes: true });
  t.match((await ask({ 'https://shop.example/scopes': 'orders:read orders:write' })).body, {
    reads: true,
    writes: true,
  });
  for (const over of [
    { scope: '*' },
    { roles: ['crm-admin'] },
    { 'realm_access.roles.x': ['crm-admin'] },
    { realm_access: { roles: ['constructor', '__proto__', 'toString', 'crm-admin '] } },
    { realm_access: ['crm-admin'] },
    { client_id: 'shop2', partner: 'not looked at', customer: 'nor this' },
  ]) {
    t.match(
      await ask(over),
      { status: 200, body: { scopes: [], scopedTo: null, client: 'shop' } },
      JSON.stringify(over),
    );
  }
  t.match((await ask({ azp: undefined, app: { id: 'other' } })).body, { client: 'other' }, 'the first that is there');
  t.match((await ask({ 'https://shop.example/partner': partner })).body, {
    scopedTo: { kind: 'partner', id: partner },
  });
  t.match((await ask({ resource: { customer: partner } })).body, { scopedTo: { kind: 'customer', id: partner } });
  for (const over of [
    { 'https://shop.example/partner': '' },
    { 'https://shop.example/partner': null },
    { 'https://shop.example/partner': [partner] },
    { 'https://shop.example/partner': '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b99' },
    { resource: { customer: 'Ada' } },
    { 'https://shop.example/partner': partner, resource: { customer: partner } },
    { azp: undefined },
    { azp: 7 },
    { realm_access: { roles: 7 } },
    { 'https://shop.example/scopes': { all: true } },
  ]) {
    t.match(await ask(over), { status: 401, challenge: /error="invalid_token"/ }, JSON.stringify(over));
  }
});

t.test('a map of claims that says nothing sensible does not start', (t) => {
  const dir = t.testdir({ 'map.json': '{"scopes":' });
  const provider = { JWT_JWKS_URL: 'https://idp.example/jwks', JWT_ISSUER: 'https://idp.example' };
  for (const [text, message] of [
    ['{', /JWT_CLAIM_MAP is not valid JSON/],
    [join(dir, 'map.json'), /JWT_CLAIM_MAP is not valid JSON/],
    [join(dir, 'none.json'), /JWT_CLAIM_MAP must be JSON or the path .* ENOENT/],
    ['{"roles":{}}', /JWT_CLAIM_MAP .*roles/],
    ['{"scopes":{"roles":"all"}}', /JWT_CLAIM_MAP at scopes → roles/],
    ['{"scopes":{"roles":{"admin":["everything"]}}}', /JWT_CLAIM_MAP at scopes → roles.*/],
    ['{"client":[]}', /JWT_CLAIM_MAP at client/],
    ['{"partner":7}', /JWT_CLAIM_MAP at partner/],
    ['{"partner":"org","customer":"org"}', /JWT_CLAIM_MAP names one claim/],
  ] as const) {
    t.throws(() => readConfig({ ...provider, JWT_CLAIM_MAP: text }), { name: 'ConfigError', message }, text);
  }
  t.throws(() => readConfig({ JWT_CLAIM_MAP: '{}' }), { message: /JWT_CLAIM_MAP needs JWT_JWKS_URL/ });
  t.match(readConfig({ ...provider, JWT_CLAIM_MAP: '{"partner":null}' }).jwtClaimMap, {
    client: ['client_id', 'azp', 'sub'],
    partner: null,
    customer: 'customer',
  });
  t.end();
});
