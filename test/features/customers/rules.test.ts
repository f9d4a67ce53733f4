import t from 'tap';
import { has, isAnotherAccount, looksAnonymous, type Standing } from '../../../src/features/customers/who-is-who.ts';

/* The rules of who is who by themselves, told by tables: a race reaches some of them only now and then. */

const standing = (row: Partial<Standing['row']>, identities: [string, string, boolean][] = []): Standing => ({
  row: { kind: 'person', name: null, givenName: null, familyName: null, erasedAt: null, ...row },
  identities: identities.map(([kind, value, shared]) => ({
    kind: kind as Standing['identities'][number]['kind'], // words of the table below
    value,
    shared,
    broughtBy: null,
  })),
  references: [],
});

t.test('whether somebody has an identity, and is found by it', (t) => {
  const email = { kind: 'email', value: 'a@example.org' };
  for (const [identities, any, own, shared] of [
    [[], false, false, false],
    [[['email', 'a@example.org', false]], true, true, false],
    [[['email', 'a@example.org', true]], true, false, true],
    [[['email', 'b@example.org', false]], false, false, false],
    [[['handle', 'a@example.org', false]], false, false, false],
    [
      [
        ['phone', '+442079460000', false],
        ['email', 'a@example.org', true],
      ],
      true,
      false,
      true,
    ],
  ] as [[string, string, boolean][], boolean, boolean, boolean][]) {
    const one = standing({}, identities);
    const told = [has(one, email), has(one, email, { shared: false }), has(one, email, { shared: true })];
    t.strictSame(told, [any, own, shared], JSON.stringify(identities));
  }
  t.end();
});

t.test('who is anonymous', (t) => {
  for (const [row, identities, expected] of [
    [{}, [], true],
    [{}, [['handle', '@ada', false]], true],
    [{}, [['email', 'a@example.org', false]], false],
    [{}, [['email', 'a@example.org', true]], false],
    [
      {},
      [
        ['handle', '@ada', false],
        ['phone', '+442079460000', true],
      ],
      false,
    ],
    [{ name: 'Ada' }, [], false],
    [{ givenName: 'Ada' }, [], false],
    [{ familyName: 'Lovelace' }, [], false],
    [{ name: '' }, [], true],
    [{ kind: 'company' }, [], false],
    [{ erasedAt: '2026-01-01T00:00:00.000Z' }, [], false],
  ] as [Partial<Standing['row']>, [string, string, boolean][], boolean][]) {
    t.equal(looksAnonymous(standing(row, identities)), expected, JSON.stringify([row, identities]));
  }
  t.end();
});

t.test('whether a message is of another account', (t) => {
  const refs = (names: string) =>
    names.split(' ').flatMap((name) => {
      const [source = '', externalId = ''] = name.split('/');
      return source ? [{ source, externalId }] : [];
    });
  for (const [known, given, expected] of [
    ['', 'shop/1', false],
    ['shop/1', '', false],
    ['shop/1', 'shop/1', false],
    ['shop/1', 'shop/2', true],
    ['shop/1', 'web/2', false],
    ['shop/1', 'web/1', false],
    ['shop/1 web/1', 'web/2', true],
    ['shop/1', 'shop/1 shop/2', false],
    ['shop/1', 'shop/1 web/1', false],
    ['shop/1 web/1', 'shop/1 web/2', true],
  ] as const) {
    t.equal(isAnotherAccount(refs(known), refs(given)), expected, `${known} given ${given}`);
  }
  t.end();
});
