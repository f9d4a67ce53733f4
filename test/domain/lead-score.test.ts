import t from 'tap';
import {
  completeness,
  documentFaults,
  fieldText,
  gradeOf,
  holds,
  type Profile,
  pointsOf,
  readsPersonalData,
  ruleScore,
  type ScoreRules,
  scoresOfGrade,
  type Touch,
} from '../../src/domain/lead-score.ts';

const grades = { A: 60, B: 35, C: 15 };
const profile: Profile = {
  fields: { kind: 'person', email: 'ada@example.org', name: 'Ada', source: '' },
  attributes: {
    occupation: 'Engineer',
    age: 36,
    vip: true,
    nothing: null,
    empty: '',
    'a.b': 'whole',
    a: { b: 'deep', c: [1, 'x'] },
  },
};
const touch = (daysAgo: number, more: Partial<Touch> = {}): Touch => ({
  id: String(daysAgo),
  kind: 'form',
  occurredAt: new Date(Date.UTC(2026, 5, 1) - daysAgo * 86_400_000).toISOString(),
  ...more,
});
const asOf = '2026-06-01T00:00:00.000Z';
const scored = (rules: ScoreRules['rules'], touches: Touch[] = [], caps: ScoreRules['caps'] = {}) => {
  const { score, fit, intent, contributions } = ruleScore({ rules, caps, grades }, profile, touches, asOf);
  return {
    score: pointsOf(score),
    fit: pointsOf(fit),
    intent: pointsOf(intent),
    parts: contributions.map(({ rule, units }) => [rule, pointsOf(units)]),
  };
};

t.test('points halve with every half-life, and are rounded to 1/1024 once, halves up', async (t) => {
  const rule = { name: 'form', group: 'intent' as const, points: 16, on: { kinds: ['form'] }, halfLifeDays: 14 };
  for (const [days, expected] of [
    [0.001, 15.9990234375],
    [14, 8],
    [28, 4],
    [42, 2],
    // 16 × 2^-14 is the grid unit itself, half of it is rounded up to it, and less than half is gone.
    [14 * 14, 1 / 1024],
    [15 * 14, 1 / 1024],
    [15 * 14 + 1, 0],
    [36_500, 0],
  ] as const)
    t.equal(scored([rule], [touch(days)]).score, expected, `${days} days`);
  t.equal(scored([rule], [touch(14), touch(28), touch(1, { kind: 'fax' })]).score, 12);
  t.equal(scored([{ ...rule, points: -16 }], [touch(14)]).score, -8);
  t.equal(scored([rule], [touch(0)]).score, 0, 'what happens at asOf comes after it');
});

t.test('what points are for, and which interactions count', async (t) => {
  const rule = { name: 'r', group: 'intent' as const, points: 2, on: {} };
  const calls = [
    touch(3, { kind: 'phone', seconds: 90, direction: 'inbound', outcome: 'solved' }),
    touch(1, { kind: 'phone', seconds: 30, pages: 4 }),
    touch(10, { kind: 'web_visit', pages: 7, topic: 'prices' }),
  ];
  t.equal(scored([rule], calls).score, 6);
  t.equal(scored([{ ...rule, per: 'minute' }], calls).score, 4);
  t.equal(scored([{ ...rule, per: 'page' }], calls).score, 22);
  t.equal(scored([{ ...rule, per: 'latest' }], calls).score, 2);
  t.equal(scored([{ ...rule, per: 'latest', halfLifeDays: 1 }], calls).score, 1);
  for (const [on, expected] of [
    [{ kinds: ['phone'] }, 4],
    [{ directions: ['inbound'] }, 2],
    [{ outcomes: ['solved', 'other'] }, 2],
    [{ topics: ['prices'], kinds: ['phone'] }, 0],
    [{ minSeconds: 31 }, 2],
    [{ minSeconds: 0 }, 4],
    [{ withinDays: 3 }, 4],
    [{ withinDays: 2 }, 2],
  ] as const)
    t.equal(scored([{ ...rule, on: on as unknown as object }], calls).score, expected, JSON.stringify(on));
});

t.test('caps of rules and groups; what a group loses is a contribution of its own', async (t) => {
  const fit = (name: string, points: number) => ({ name, group: 'fit' as const, points });
  const intent = { name: 'form', group: 'intent' as const, points: 10, on: {}, cap: 25 };
  t.same(scored([fit('a', 20), fit('b', 15), intent], [touch(1), touch(2), touch(3)], { fit: 30, intent: 20 }), {
    score: 50,
    fit: 30,
    intent: 20,
    parts: [
      ['a', 20],
      ['b', 15],
      ['form', 25],
      ['fit', -5],
      ['intent', -5],
    ],
  });
  t.equal(scored([{ ...intent, points: -10 }], [touch(1), touch(2), touch(3)], { intent: 0 }).score, -25);
  t.same(scored([intent]).parts, [], 'a rule that does not apply says nothing');
});

t.test('conditions on the profile', async (t) => {
  for (const [field, text] of [
    ['name', 'Ada'],
    ['source', null],
    ['phone', null],
    ['attributes.age', '36'],
    ['attributes.vip', 'true'],
    ['attributes.nothing', null],
    ['attributes.empty', null],
    ['attributes.a.b', 'whole'],
    ['attributes.a.c.1', 'x'],
    ['attributes.a.c.-1', 'x'],
    ['attributes.a.c.2', null],
    ['attributes.toString', null],
  ] as const)
    t.equal(fieldText(profile, field), text, field);
  t.equal(completeness(profile, ['name', 'email', 'phone', 'source']), 0.5);
  const fields = ['name', 'phone'];
  for (const [condition, expected] of [
    [{ field: 'email', exists: true }, true],
    [{ field: 'phone', exists: true }, false],
    [{ field: 'phone', exists: false }, true],
    [{ field: 'kind', oneOf: ['person'] }, true],
    [{ field: 'kind', noneOf: ['company'] }, true],
    [{ field: 'phone', noneOf: ['x'] }, false],
    [{ field: 'attributes.age', atLeast: 36 }, true],
    [{ field: 'attributes.age', atLeast: 30, atMost: 35 }, false],
    [{ field: 'attributes.occupation', atLeast: 0 }, false],
    [{ field: 'completeness', atLeast: 0.5 }, true],
    [{ field: 'completeness', atMost: 0.49 }, false],
    [{ field: 'attributes.age', oneOf: ['36'], exists: true }, true],
  ] as const)
    t.equal(
      holds(profile, fields, condition as unknown as Parameters<typeof holds>[2]),
      expected,
      JSON.stringify(condition),
    );
});

t.test('grades', async (t) => {
  t.same(
    [60, 59.75, 35, 34.75, 15, 14.75, -3].map((score) => gradeOf(grades, score)),
    ['A', 'B', 'B', 'C', 'C', 'D', 'D'],
  );
  t.same(scoresOfGrade(grades, 'B'), { from: 35, to: 60 });
  t.same(scoresOfGrade(grades, 'D'), { from: null, to: 15 });
});

t.test('what is wrong with a document has its place', async (t) => {
  const places = (document: ScoreRules) => documentFaults(document).map(({ pointer, code }) => `${pointer} ${code}`);
  const rule = { name: 'a', group: 'fit' as const, points: 1 };
  t.same(places({ rules: [rule, { name: 'b', group: 'intent', points: 1, on: {} }], grades }), []);
  t.same(
    places({
      rules: [
        rule,
        { ...rule, on: {}, when: [{ field: 'email' }, { field: 'completeness', oneOf: ['1'] }] },
        { name: 'c', group: 'intent', points: 1, per: 'latest', halfLifeDays: 1 },
      ],
      grades: { A: 10, B: 10, C: 11 },
      qualify: { marketing: 20, sales: 10 },
      profileFields: ['completeness', 'email', 'email'],
    }),
    [
      '/rules/1/name duplicate',
      '/rules/1/on not_allowed',
      '/rules/1/when/0 empty_condition',
      '/rules/1/when/1/oneOf not_allowed',
      '/rules/2/on required',
      '/rules/2/per not_allowed',
      '/rules/2/halfLifeDays not_allowed',
      '/grades/B not_falling',
      '/grades/C not_falling',
      '/qualify/marketing out_of_order',
      '/profileFields/0 not_allowed',
      '/profileFields/2 duplicate',
    ],
  );
  const many = (count: number, field: string) => ({
    rules: [{ ...rule, when: Array.from({ length: count }, () => ({ field, atLeast: 1 })) }],
    grades,
    profileFields: ['name', 'email'],
  });
  t.same([many(600, 'attributes.a'), many(300, 'completeness')].map(places), [[], []]);
  t.same(places(many(601, 'attributes.a')), ['/rules too_many_conditions']);
  t.same(places(many(301, 'completeness')), ['/rules too_many_conditions']);
  const reads = (when: { field: string }) => readsPersonalData({ rules: [{ ...rule, when: [when] }], grades });
  t.equal(reads({ field: 'email', exists: true } as { field: string }), false);
  t.equal(reads({ field: 'email', oneOf: ['x'] } as { field: string }), true);
  t.equal(reads({ field: 'attributes.age', atLeast: 3 } as { field: string }), true);
  t.equal(reads({ field: 'kind', oneOf: ['x'] } as { field: string }), false);
  const counts = (on: object) => readsPersonalData({ rules: [{ ...rule, on }], grades });
  t.strictSame([{ kinds: ['form'] }, { topics: ['price'] }, { outcomes: ['sold'] }].map(counts), [false, true, true]);
});
