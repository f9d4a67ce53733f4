import fc from 'fast-check';

/**
 * What nobody should send, and everybody does: values as JSON text, because half of them (`1e400`, `-0`, a member called
 * `__proto__`, a lone surrogate, a number of 40 digits) do not survive a JavaScript value.
 */

/** A JSON document that can hold what JavaScript objects cannot: `text` is written as it stands. */
export type Tree = { text: string } | { list: Tree[] } | { members: [name: string, value: Tree][] };

export function treeOf(value: unknown): Tree {
  if (Array.isArray(value)) return { list: value.map(treeOf) };
  if (typeof value === 'object' && value !== null) {
    return { members: Object.entries(value).map(([name, member]) => [JSON.stringify(name), treeOf(member)]) };
  }
  return { text: JSON.stringify(value) ?? 'null' };
}

export function textOf(tree: Tree): string {
  if ('text' in tree) return tree.text;
  if ('list' in tree) return `[${tree.list.map(textOf).join(',')}]`;
  return `{${tree.members.map(([name, value]) => `${name}:${textOf(value)}`).join(',')}}`;
}

/** Every node of the document, the root first, as a way to put something else in its place. */
function nodes(tree: Tree): Tree[] {
  if ('text' in tree) return [tree];
  const below = 'list' in tree ? tree.list : tree.members.map(([, value]) => value);
  return [tree, ...below.flatMap(nodes)];
}

function replace(tree: Tree, node: Tree, by: (node: Tree) => Tree | null): Tree | null {
  if (tree === node) return by(tree);
  if ('list' in tree) return { list: tree.list.flatMap((item) => replace(item, node, by) ?? []) };
  if ('members' in tree) {
    const members = tree.members.flatMap(([name, value]): [string, Tree][] => {
      const changed = replace(value, node, by);
      return changed === null ? [] : [[name, changed]];
    });
    return { members };
  }
  return tree;
}

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const quoted = (values: string[]) => values.map((value) => JSON.stringify(value));

const wrongTypes = ['null', 'true', '[]', '{}', '""', '0', '"0"', '[null]', '{"a":1}'];
const numbers = [
  ...['-0', '-1', '0.1', '1e-7', '1e400', '-1e400', '1e309', '1e-400', '1e21', '1.7976931348623157e308'],
  ...['9007199254740991', '9007199254740992', '9007199254740993', '-9007199254740992', '9223372036854775808'],
  ...['1000000000000', '1000000000001', '-1000000000000', '2147483648', '1000000001', '999999999.9999999'],
  '1234567890123456789012345678901234567890',
];
const texts = [
  ...['"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', '"x\\ud83d"', '"\\uffff"', '"\\u202e"', '"\\u0007"'],
  ...quoted([
    '𝒳',
    ' ',
    "'; drop table customers; --",
    '${jndi:ldap://x}',
    '%00',
    '../../etc/passwd',
    'NaN',
    '-Infinity',
  ]),
  ...quoted([
    '1e999',
    '0x10',
    '1,5',
    '٣',
    '999999999999999.999999999999',
    '-0',
    '.5',
    '@',
    'a@b',
    'mailto:a@b.example',
  ]),
  ...[101, 256, 5_000, 100_000].map((length) => JSON.stringify('x'.repeat(length))),
  JSON.stringify('é'.repeat(255)),
  JSON.stringify('👍'.repeat(100)),
];
export const dates = [
  ...['2026-02-30', '2026-13-01', '0000-00-00', '0000-01-01', '0001-01-01', '0999-12-31', '9999-12-31', '10000-01-01'],
  ...['2026-2-3', '20260203', '-2026-01-01', '+002026-01-01', 'infinity', '-infinity', 'now', 'epoch', 'today'],
];
export const instants = [
  ...['2026-02-30T00:00:00Z', '0000-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00+14:00'],
  ...['9999-12-31T23:59:59.999999999Z', '9999-12-31T23:59:59-14:00', '10000-01-01T00:00:00Z', '2016-12-31T23:59:60Z'],
  ...['2026-03-01T24:00:00Z', '2026-03-01T12:00:00', '2026-03-01 12:00:00Z', '2026-03-01T12:00:00+99:99'],
  ...['2026-03-01T12:00:00-00:00', '-271821-04-20T00:00:00Z', '+275760-09-13T00:00:00Z', '2026-03-01T12:00Z'],
  ...[
    '2026-03-01T12:00:00.Z',
    `2026-03-01T12:00:00.${'9'.repeat(60)}Z`,
    'allballs',
    '2026-03-01T12:00:00[Europe/London]',
  ],
];
export const zones = [
  ...[
    'UTC+99',
    'Etc/GMT+14',
    'Etc/GMT-15',
    'posixrules',
    'Factory',
    'localtime',
    '../../etc/passwd',
    'PST',
    'AST',
    'ACT',
  ],
  ...[
    'SystemV/EST5',
    'US/Pacific-New',
    'europe/london',
    '+02:00',
    'GMT0',
    'Mars/Olympus',
    'Europe/Kyiv',
    '',
    'UTC\u0000',
  ],
];
const identifiers = [
  ...[
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '0193A6C2-8F00-7C3E-9B1A-5D2F6E7A8B90',
  ],
  ...[
    '{0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90}',
    'urn:uuid:0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
    '0193a6c28f007c3e9b1a5d2f6e7a8b90',
  ],
  ...[
    'zzzzzzzz-8f00-7c3e-9b1a-5d2f6e7a8b90',
    'EUR',
    'eur',
    'XXX',
    'ZZZ',
    'GBP ',
    'de-DE',
    'x-',
    '__proto__',
    'constructor',
  ],
];
const structures = [
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toJSON":1,"toString":null,"length":-1,"then":1}',
  '{"a\\u0000":1}',
  '{"\\ud800":1}',
  '{"":1}',
  ...[60, 65, 100].map(deep),
  `[${'0,'.repeat(6_000)}0]`,
  `{${Array.from({ length: 500 }, (_, i) => `"m${i}":1`).join(',')}}`,
];
/** No JSON at all. */
const broken = [
  'NaN',
  'undefined',
  '01',
  "'a'",
  '"\\x41"',
  '"unterminated',
  '{',
  ']',
  '{"a":1,}',
  '/**/1',
  '\u00a0',
  deep(100_000),
];

export const hostileTexts = [
  ...wrongTypes,
  ...numbers,
  ...texts,
  ...structures,
  ...quoted([...dates, ...instants]),
].concat(quoted([...zones, ...identifiers]), broken);

const hostileNames = [
  '"__proto__"',
  '"constructor"',
  '"nonsense"',
  '""',
  '"a\\u0000b"',
  '"\\ud800"',
  '"~/"',
  '"ID"',
  '"$ref"',
];

export interface Damage {
  at: number;
  how: 'value' | 'drop' | 'add' | 'rename' | 'wrap' | 'repeat' | 'twice';
  value: string;
  name: string;
}

/** One or two things wrong with a document, each at any level of it. */
export const damages: fc.Arbitrary<Damage[]> = fc.array(
  fc.record({
    at: fc.nat({ max: 10_000 }),
    // Wrong values make the half of it.
    how: fc.constantFrom(
      ...(['value', 'value', 'value', 'value', 'value', 'drop', 'add', 'rename', 'wrap', 'repeat', 'twice'] as const),
    ),
    value: fc.oneof({ arbitrary: fc.constantFrom(...hostileTexts), weight: 9 }, { arbitrary: fc.json(), weight: 1 }),
    name: fc.constantFrom(...hostileNames),
  }),
  { minLength: 1, maxLength: 2 },
);

export function damaged(document: Tree, faults: readonly Damage[]): Tree {
  return faults.reduce<Tree>((tree, fault) => {
    const all = nodes(tree);
    const node = all[fault.at % all.length] ?? tree;
    return replace(tree, node, (found) => spoil(found, fault)) ?? { text: '' };
  }, document);
}

function spoil(node: Tree, { how, value, name }: Damage): Tree | null {
  switch (how) {
    case 'value':
      return { text: value };
    case 'drop':
      return null;
    case 'wrap':
      return { list: [node] };
    case 'repeat':
      return 'list' in node ? { list: Array.from({ length: 1_001 }, () => node.list[0] ?? node) } : { text: value };
    case 'add':
      return 'members' in node ? { members: [...node.members, [name, { text: '1' }]] } : { text: value };
    case 'rename':
      return 'members' in node ? { members: node.members.map(([old, v], i) => [i === 0 ? name : old, v]) } : null;
    case 'twice':
      return 'members' in node ? { members: [...node.members, ...node.members] } : { text: value };
  }
}

/** Text for parameters: what the documents are spoilt with, without the quotes of JSON; two of them fit into a URL. */
export const hostileParameters = [
  ...hostileTexts
    .map((text) => (/^".*"$/.test(text) ? unquote(text) : text))
    .filter((text) => encodeURIComponent(text.toWellFormed()).length < 6_000),
  ...[
    '101',
    '99999999999',
    '1.5',
    'abc',
    '1e2',
    '+5',
    ' 5',
    '5 ',
    'TRUE',
    'yes',
    '-',
    '--createdAt',
    'createdAt,id',
    '*',
  ],
];

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}
