import fc from 'fast-check';
import Fastify from 'fastify';
import t from 'tap';
import { strictParser } from '../../src/platform/http/parsing.ts';
import { parseJson } from '../../src/platform/json.ts';
import { draws, endOnFailure } from '../support/draws.ts';

/** A text that is parsed in pieces has the value, or the refusal, that it has as a whole. */

const strict = strictParser(Fastify());

const space = fc.constantFrom('', ' ', '\n\t');
const leaf = fc.oneof(
  fc.constantFrom('1', '-1.5e3', 'null', 'true', '{}', '[ ]', '"a,]}{\\"["', '"\\u0000"', `"${'x'.repeat(140_000)}"`),
  fc.integer({ min: 1, max: 60_000 }).map(
    (count) =>
      `[${Array(count % 9_000)
        .fill('"abc,"')
        .join(', ')}]`,
  ),
);
const name = fc.constantFrom('a', 'b', '1', 'é');
const { tree } = fc.letrec<{ tree: string }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    leaf,
    fc
      .array(fc.tuple(space, tie('tree'), space), { maxLength: 6 })
      .map((items) => `[${items.map((item) => item.join('')).join(',')}]`),
    fc
      .array(fc.tuple(space, name, space, tie('tree'), space), { maxLength: 6 })
      .map(
        (items) => `{${items.map(([a, key, b, value, c]) => `${a}${JSON.stringify(key)}${b}:${value}${c}`).join(',')}}`,
      ),
  ),
}));
const damage = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  put: fc.constantFrom('', ',', '[', '}', ']', '"', 'x', ':', '\ufeff'),
  drop: fc.integer({ min: 0, max: 1 }),
});
const text = fc.tuple(tree, tree, fc.option(damage)).map(([first, second, harm]) => {
  const whole = `{"first":${first},"more":[${second},${second}],"last":1}`;
  if (!harm) return whole;
  const at = Math.floor(harm.at * whole.length);
  return whole.slice(0, at) + harm.put + whole.slice(at + harm.drop);
});

t.test('in pieces as in one', async () => {
  await fc.assert(
    fc.asyncProperty(text, async (given) => {
      const outcome = async (work: () => unknown) => {
        try {
          return JSON.stringify(await work());
        } catch {
          return 'refused';
        }
      };
      const [whole, pieces] = [await outcome(() => strict(given)), await outcome(() => parseJson(given, strict))];
      if (whole !== pieces) throw new Error(`${pieces.slice(0, 200)} instead of ${whole.slice(0, 200)}`);
    }),
    { numRuns: draws({ quick: 60, deep: 3_000 }), endOnFailure },
  );
});

t.test('what a piece does not show is refused all the same', async (t) => {
  const long = JSON.stringify('x'.repeat(200_000));
  const bad = [
    `{"constructor": {"prototype": [${long}]}}`,
    `{"constructor": {"a": [${long}], "prototype": 1}}`,
    `{"__proto__": [${long}]}`,
    `[[${long}],]`,
    `[,[${long}]]`,
    `[[${long}] 1]`,
    `{"a" [${long}]}`,
    `{[${long}]}`,
    `[[${long}]`,
    `[[${long}]}`,
    `[${long}]]`,
    `[${long}] [${long}]`,
    `${'['.repeat(65)}${long}${']'.repeat(65)}`,
  ];
  for (const one of bad) {
    await t.rejects(parseJson(one, strict), { code: 'invalid_json' }, one.replaceAll('x', '').slice(0, 60));
  }
  t.same(await parseJson(`\ufeff {"a": [${long}], "a": {"b": [${long}]}} `, strict), {
    a: { b: ['x'.repeat(200_000)] },
  });
});
