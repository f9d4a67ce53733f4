import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, LookupFunction } from 'node:net';
import t, { type Test } from 'tap';
import { type OutgoingOptions, openOutgoing } from '../../src/platform/outgoing.ts';

/** What is sent to addresses of clients reaches nothing private, whatever they are called; and no receiver holds it up. */

const ofTest = (t: Test, options: Partial<OutgoingOptions> = {}) => {
  const outgoing = openOutgoing({ allow: [], production: false, timeout: 5_000, ...options });
  t.teardown(() => outgoing.close());
  return outgoing;
};

async function serverOn(
  t: Test,
  host: string,
  listener?: RequestListener,
): Promise<{ port: number; requests: string[]; connections: string[] }> {
  const requests: string[] = [];
  const connections: string[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(`${request.socket.localAddress} ${request.method} ${request.headers.host} ${request.url}`);
    if (listener) listener(request, response);
    else response.writeHead(204).end();
  });
  // Not even a connection is made to what is refused.
  server.on('connection', () => connections.push('connection'));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests, connections };
}

/** Answers of a name server, one after the other; the last one from then on. */
function namesTo(...answers: string[][]): LookupFunction & { asked: string[] } {
  const asked: string[] = [];
  const lookup: LookupFunction = (host, _options, done) => {
    asked.push(host);
    const addresses = answers[Math.min(asked.length, answers.length) - 1] ?? [];
    if (addresses.length === 0) {
      const error: NodeJS.ErrnoException = Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
      done(error, '');
    } else
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
  };
  return Object.assign(lookup, { asked });
}

const spellings = [
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f.0.0.1',
  '0177.0.0.1',
  '127.0.0.1.',
  '①②⑦.0.0.1',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[::7f00:1]',
  '[64:ff9b::7f00:1]',
  '0.0.0.0',
  'localhost',
  'LOCALHOST.',
  'printer.localhost',
];
const others = [
  '10.1.2.3',
  '172.16.0.1',
  '192.168.1.1',
  '169.254.169.254',
  '100.64.0.1',
  '198.18.0.1',
  '192.0.2.1',
  '224.0.0.1',
  '255.255.255.255',
  '[fd00::1]',
  '[fe80::1]',
  '[fec0::1]',
  '[fd00:ec2::254]',
  '[ff02::1]',
  '[2001:db8::1]',
  '[2002:7f00:1::]',
];

t.test('addresses of private networks are refused, however they are spelt', async (t) => {
  const { port, connections } = await serverOn(t, '127.0.0.1');
  const outgoing = ofTest(t);
  for (const host of [...spellings, ...others]) {
    const url = `http://${host}:${port}/`;
    t.ok(outgoing.refusal(url), url);
    t.strictSame(await outgoing.post(url, {}, '{}'), { status: null, error: 'address_refused' }, url);
  }
  t.equal(outgoing.refusal('https://8.8.8.8/'), null);
  t.equal(outgoing.refusal('https://[2606:4700::1111]/'), null);
  t.strictSame(connections, []);
});

t.test('names that lead to private addresses are refused when they are connected to', async (t) => {
  const { port, connections } = await serverOn(t, '127.0.0.1');
  const url = `http://shop.example:${port}/`;
  for (const addresses of [
    ['127.0.0.1'],
    ['::1'],
    ['::ffff:127.0.0.1'],
    ['169.254.169.254'],
    ['93.184.216.34', '127.0.0.1'],
  ]) {
    const lookup = namesTo(addresses);
    const outgoing = ofTest(t, { lookup });
    t.equal(outgoing.refusal(url), null, 'the name itself says nothing');
    t.strictSame(await outgoing.post(url, {}, '{}'), { status: null, error: 'address_refused' }, `${addresses}`);
    t.strictSame(lookup.asked, ['shop.example']);
  }
  t.strictSame(connections, []);
});

t.test('the address that was checked is the one that is connected to', async (t) => {
  // Closes each connection, so that every request makes another.
  const { port, requests } = await serverOn(t, '0.0.0.0', (_request, response) =>
    response.writeHead(204, { connection: 'close' }).end(),
  );
  // A name server that turns to something private once it was asked.
  const lookup = namesTo(['127.0.0.2'], ['127.0.0.1']);
  const outgoing = ofTest(t, { lookup, allow: ['127.0.0.2'] });
  const url = `http://rebinding.example:${port}/a?b=c`;
  t.strictSame(await outgoing.post(url, {}, '{}'), { status: 204, error: null });
  t.strictSame(lookup.asked, ['rebinding.example'], 'it is asked once for a connection');
  t.strictSame(requests, [`127.0.0.2 POST rebinding.example:${port} /a?b=c`]);
  t.strictSame(await outgoing.post(url, {}, '{}'), { status: null, error: 'address_refused' });
  t.equal(requests.length, 1);
});

t.test('what is allowed, and plain http in production', async (t) => {
  const { port } = await serverOn(t, '127.0.0.1');
  const lookup = namesTo(['127.0.0.1']);
  const url = (host: string) => `http://${host}:${port}/`;
  const cases: [allow: string[], host: string, isOpen: boolean, inProduction: boolean][] = [
    [['127.0.0.1'], '127.0.0.1', true, true],
    [['127.0.0.0/8'], '127.0.0.1', true, true],
    [['127.0.0.0/8'], '[::ffff:127.0.0.1]', true, true],
    [['10.0.0.0/8'], '127.0.0.1', false, false],
    [['::1'], '127.0.0.1', false, false],
    // A network opens addresses, a name is opened as itself.
    [['127.0.0.0/8'], 'hooks.internal', true, false],
    [['hooks.internal'], 'hooks.internal', true, true],
    [['hooks.internal'], 'hooks.internal.', true, true],
    [['hooks.internal'], 'other.internal', false, false],
    [['hooks.internal'], '127.0.0.1', false, false],
  ];
  for (const [allow, host, isOpen, inProduction] of cases) {
    for (const [production, expected] of [
      [false, isOpen],
      [true, inProduction],
    ] as const) {
      const sent = await ofTest(t, { allow, production, lookup }).post(url(host), {}, '{}');
      t.equal(sent.status === 204, expected, `${allow} ${host} ${production ? 'in production' : ''} ${sent.error}`);
    }
  }
  const strict = ofTest(t, { production: true });
  t.equal(strict.refusal('http://shop.example/'), 'Must begin with https://.');
  t.equal(strict.refusal('https://shop.example/'), null);
});

t.test('receivers that never end', async (t) => {
  let bytes = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const { port } = await serverOn(t, '127.0.0.1', (request, response) => {
    if (request.url === '/silent') return;
    response.writeHead(200);
    if (request.url === '/dribble') {
      const timer = setInterval(() => response.write('.'), 20);
      response.on('close', () => clearInterval(timer));
      return;
    }
    const more = () => {
      while (!response.destroyed && response.write(chunk)) bytes += chunk.length;
    };
    response.on('drain', more);
    more();
  });
  const outgoing = ofTest(t, { allow: ['127.0.0.1'], timeout: 300 });
  const post = (path: string) => outgoing.post(`http://127.0.0.1:${port}${path}`, {}, '{}');
  t.strictSame(await post('/silent'), { status: null, error: 'timeout' });
  t.strictSame(await post('/dribble'), { status: 200, error: null }, 'what was answered counts');
  t.strictSame(await post('/endless'), { status: 200, error: null });
  t.ok(bytes < 20_000_000, `${bytes} bytes were taken, most of them by buffers of the system`);
});

t.test('why there is no answer', async (t) => {
  const { port } = await serverOn(t, '127.0.0.1');
  const outgoing = ofTest(t, { allow: ['127.0.0.1'] });
  t.strictSame(await outgoing.post(`https://127.0.0.1:${port}/`, {}, '{}'), { status: null, error: 'tls_failed' });
  t.strictSame(await outgoing.post('http://127.0.0.1:1/', {}, '{}'), { status: null, error: 'connection_failed' });
  const nowhere = ofTest(t, { lookup: namesTo([]) });
  t.strictSame(await nowhere.post('http://nowhere.example/', {}, '{}'), { status: null, error: 'unknown_host' });
  t.strictSame(await outgoing.post('not an address', {}, '{}'), { status: null, error: 'address_refused' });
});
