import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws, firstSeed } from '../../support/draws.ts';
import { fresh, pushOrder } from '../../support/shop.ts';

const api = await testApp(t);
const { request } = api;
const settings = { numRuns: draws({ quick: 20, deep: 300 }), seed: firstSeed(7) };

/** What is put between the characters of a text without being seen. */
const unseen = ['\u200b', '\u200d', '\u2060', '\ufeff', '\u00ad', '\u202a', '\u202c', '\u200f', '\ufe0f', '\u034f'];

const local = fc.stringMatching(/^[a-z0-9][a-z0-9._+-]{0,10}[a-z0-9é]$/).filter((text) => !text.includes('..'));
const domain = fc.constantFrom(
  'example.org',
  'köln.example',
  'faß.example',
  'a-b.co.example',
  'пример.example',
  'é.example',
);

interface Spelling {
  upper: boolean;
  decomposed: boolean;
  ascii: boolean;
  dot: boolean;
  around: string;
  inside: { at: number; what: string }[];
}

const spelling: fc.Arbitrary<Spelling> = fc.record({
  upper: fc.boolean(),
  decomposed: fc.boolean(),
  ascii: fc.boolean(),
  dot: fc.boolean(),
  around: fc.constantFrom('', ' ', '\t', '\u00a0', '\n', '\u3000'),
  inside: fc.array(fc.record({ at: fc.nat(40), what: fc.constantFrom(...unseen) }), { maxLength: 3 }),
});

function spell(name: string, host: string, { upper, decomposed, ascii, dot, around, inside }: Spelling): string {
  let text = `${name}@${ascii ? domainToASCII(host) : host}${dot ? '.' : ''}`;
  // ß in capitals is another domain.
  if (upper && !host.includes('ß')) text = text.toUpperCase();
  if (decomposed) text = text.normalize('NFD');
  for (const { at, what } of inside) text = text.slice(0, at) + what + text.slice(at);
  return `${around}${text}${around}`;
}

t.test('every spelling of an e-mail is one customer, is found, and stays erased', async (t) => {
  await fc.assert(
    fc.asyncProperty(local, domain, fc.tuple(spelling, spelling, spelling, spelling), async (name, host, spellings) => {
      const unique = `${fresh('p').toLowerCase()}.${name}`;
      const [one = '', two = '', three = '', four = ''] = spellings.map((given) => spell(unique, host, given));
      const first = await pushOrder(api, { customer: { email: one } });
      const second = await pushOrder(api, { customer: { email: two } });
      t.equal(second.body.customerId, first.body.customerId, JSON.stringify([one, two]));
      const found = await request('GET', `/v1/customers?email=${encodeURIComponent(three)}`);
      t.same(
        found.body.data.map(({ id, email }: { id: string; email: string }) => [id, email]),
        [[first.body.customerId, `${unique}@${domainToASCII(host)}`.normalize('NFC')]],
        JSON.stringify(three),
      );
      await request('POST', `/v1/customers/${first.body.customerId}/erase`, { body: {} });
      const again = await request('POST', '/v1/customers', {
        body: { name: 'Back', identities: [{ kind: 'email', value: four }] },
      });
      t.match(again, { status: 409, body: { code: 'person_erased' } }, JSON.stringify(four));
    }),
    settings,
  );
});

t.test('a value that is shown is its own normal form', async (t) => {
  const phones = fc.tuple(
    fc.constantFrom('+52', '+521', '+52 1 ', '+54', '+549', '+54 9 ', '+55', '+44', '+1', '+49'),
    fc.stringMatching(/^[1-9][0-9]{8,11}$/),
    fc.constantFrom('', ' x11', ';ext=7', ' ext. 0012', '#5'),
  );
  await fc.assert(
    fc.asyncProperty(phones, async (parts) => {
      const body = (value: string) => ({ name: 'P', identities: [{ kind: 'phone', value }] });
      const first = await request('POST', '/v1/customers?dryRun=true', { body: body(parts.join('')) });
      if (first.status === 422) return;
      const { phone } = first.body;
      const second = await request('POST', '/v1/customers?dryRun=true', { body: body(phone) });
      t.equal(second.body.phone, phone, parts.join(''));
    }),
    { ...settings, numRuns: settings.numRuns * 3 },
  );
});
