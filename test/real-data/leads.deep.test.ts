import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { filledInBySales, type LeadRecord, readLeads } from '../../scripts/leads/read.ts';
import { xEducationRules } from '../../scripts/leads/rule-set.ts';
import { sendLeads } from '../../scripts/leads/send.ts';
import { serviceClient } from '../../scripts/service-client.ts';
import { packageRoot } from '../../src/config.ts';
import { areaUnderCurve } from '../../src/domain/classification.ts';
import { learnedScoresOf } from '../../src/features/lead-models/queries.ts';
import type { LeadModelAnswer, LearnedScoreAnswer } from '../../src/features/lead-models/record.ts';
import { scoreDetails } from '../../src/features/lead-scores/details.ts';
import { rulesById } from '../../src/features/lead-scores/queries.ts';
import type { LeadScoreAnswer } from '../../src/features/lead-scores/record.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { runJobs, type TestApp, testApp } from '../support/app.ts';
import { runNode } from '../support/command.ts';

/**
 * Rule score and learned score on 6,467 real leads, from the import to the list of whom to call: everything through the
 * API, as a source of leads would use it. The outcomes come from the file, not from the service.
 */
const file = join(packageRoot, '../shared/data/leads/leads_shared.csv.gz');
/** After the last activity; the leads entered from July to August. */
const asOf = '2016-09-30T00:00:00.000Z';

async function records(): Promise<LeadRecord[]> {
  const all: LeadRecord[] = [];
  for await (const record of readLeads(file)) all.push(record);
  return all;
}

async function* streamed(some: LeadRecord[]): AsyncGenerator<LeadRecord> {
  yield* some;
}

/** The command as people start it. */
function runImport(app: TestApp, args: string[]) {
  const token = app.token('customers:write leads:write interactions:write', 'importer');
  return runNode(['--import=tsx', 'scripts/import-leads.ts', ...args], {
    RAPPORT_URL: app.origin,
    RAPPORT_TOKEN: token,
  });
}

/** All pages of a list, in their order. */
async function everything<T>(app: TestApp, path: string): Promise<T[]> {
  const found: T[] = [];
  for (let next: string | null = path; next !== null; ) {
    const { status, body, headers }: { status: number; body: { data: T[] }; headers: Headers } = await app.request(
      'GET',
      next,
    );
    if (status !== 200) throw new Error(JSON.stringify(body));
    found.push(...body.data);
    next = /<(.+)>/.exec(headers.get('link') ?? '')?.[1] ?? null;
  }
  return found;
}

async function train(app: TestApp, exclude: string[]): Promise<LeadModelAnswer> {
  const { body } = await app.request('POST', '/v1/lead-models', { body: { exclude } });
  await runJobs(app);
  return (await app.request('GET', `/v1/lead-models/${body.id}`)).body;
}

/** How many sums of a lead are not those of their parts to the last digit, added forwards and backwards. */
function inexact(rule: LeadScoreAnswer['rule'], learned: LearnedScoreAnswer): number {
  const sums: [number, number[], number][] = [
    [0, rule.contributions.map(({ points }) => points), rule.score],
    [learned.basePoints, learned.contributions.map(({ points }) => points), learned.points],
    [learned.baseLogOdds, learned.contributions.map(({ logOdds }) => logOdds), learned.logOdds],
  ];
  const wrong = sums.flatMap(([base, parts, whole]) =>
    [parts, parts.toReversed()].filter((order) => order.reduce((sum, part) => sum + part, base) !== whole),
  );
  return wrong.length + (learned.probability === 1 / (1 + Math.exp(-learned.logOdds)) ? 0 : 1);
}

t.test(
  'real leads through the API',
  { skip: existsSync(file) ? false : `${file} is not there: real data is not tested`, timeout: 900_000 },
  async (t) => {
    const app = await testApp(t);
    const client = serviceClient({ url: app.origin, token: app.token('*', 'importer') });
    const all = await records();
    const known = all.filter(({ number }) => Number(number) % 3 !== 0);
    const others = all.filter(({ number }) => Number(number) % 3 === 0);
    const outcomes = new Map(all.map(({ number, convertedAt }) => [number, convertedAt === null ? 0 : 1]));
    const numbers = new Map<string, string>();

    await t.test('a model scores leads that it has not seen', async (t) => {
      const report = await sendLeads(client, streamed(known));
      t.strictSame([report.leads, report.refusals.size], [known.length, 0]);
      const model = await train(app, filledInBySales);
      t.equal(model.counts?.leads, known.length);
      // Their outcomes are left out, as `--open` does.
      const open = await sendLeads(client, streamed(others.map((record) => ({ ...record, convertedAt: null }))));
      t.strictSame([open.leads, open.conversions], [others.length, 0]);

      const customers = await everything<{ id: string; references: { externalId: string }[] }>(
        app,
        '/v1/customers?limit=100',
      );
      for (const { id, references } of customers) numbers.set(id, references[0]?.externalId ?? '');
      t.equal(numbers.size, all.length);
      const scores = await everything<{ leadId: string; probability: number }>(
        app,
        `/v1/lead-models/${model.id}/scores?limit=100`,
      );
      const unseen = scores.filter(({ leadId }) => Number(numbers.get(leadId)) % 3 === 0);
      t.equal(unseen.length, others.length);
      const outcomesOf = unseen.map(({ leadId }) => outcomes.get(numbers.get(leadId) ?? '') ?? Number.NaN);
      const area = areaUnderCurve(
        unseen.map(({ probability }) => probability),
        outcomesOf,
      );
      t.comment(`AUC ${area}`);
      t.ok(area !== null && area >= 0.88 && area < 0.97, `AUC ${area}`);
      const expected = unseen.reduce((sum, { probability }) => sum + probability, 0);
      const converted = outcomesOf.reduce((sum, outcome) => sum + outcome, 0);
      t.ok(Math.abs(expected / converted - 1) < 0.1, `${expected} conversions expected, ${converted} came`);
    });

    await t.test('npm run import:leads brings the outcomes, and nothing twice', async (t) => {
      const open = await runImport(app, [file]);
      t.equal(open.code, 0, open.output);
      t.match(open.output, new RegExp(`${all.length} of ${all.length} leads`));
      t.equal((await app.request('GET', '/v1/customers?limit=1&count=true')).body.page.total, all.length);
      const { body } = await app.request('GET', '/v1/leads?limit=1&count=true&converted=true');
      t.equal(body.page.total, all.filter(({ convertedAt }) => convertedAt !== null).length);

      const folder = t.testdir({});
      const wrong = join(folder, 'other.csv');
      await writeFile(wrong, 'a,b\n1,2\n');
      const refused = await runImport(app, [wrong]);
      t.equal(refused.code, 1);
      t.match(refused.output, /not the X Education leads/);
    });

    await t.test('with what sales filled in, the model warns of itself', async (t) => {
      const { quality, warning } = await train(app, []);
      t.ok((quality?.auc ?? 0) >= 0.95, `AUC ${quality?.auc}`);
      t.equal(warning?.code, 'outcome_in_fields');
      t.equal(warning?.fields[0], 'attributes.tags');
    });

    await t.test('without it, five folds', async (t) => {
      const { quality, warning, counts, coefficients } = await train(app, filledInBySales);
      t.match(counts, { leads: 6467, tooYoung: 0, alreadyCustomers: 0 });
      t.ok(quality?.auc && quality.auc >= 0.89 && quality.auc < 0.97, `AUC ${quality?.auc}`);
      t.ok(
        quality?.foldAucs.every((area) => area !== null && area > 0.87 && area < 0.97),
        `${quality?.foldAucs}`,
      );
      t.equal(warning, null);
      t.strictSame(quality?.unusedExclusions, [], 'every column of sales is there to be left out');
      t.notOk(coefficients.some(({ field }) => /tags|quality|leadProfile|asymmetrique/i.test(field)));
      t.ok((quality?.lift[0]?.lift ?? 0) > 2.3, 'the best tenth of leads that were held out');
      t.ok(
        quality?.calibration.every(({ predicted, observed }) => Math.abs(predicted - observed) < 0.08),
        'a probability is what it says',
      );
    });

    await t.test('the tuned rules rank them, in a list that has every lead once', async (t) => {
      const draft = await app.request('POST', '/v1/lead-rule-sets', {
        body: { name: 'X Education', document: xEducationRules },
      });
      t.equal(draft.status, 201, JSON.stringify(draft.body));
      const published = await app.request('POST', `/v1/lead-rule-sets/${draft.body.id}/publish`, {
        headers: { 'If-Match': '*' },
      });
      t.equal(published.status, 200);
      await runJobs(app);
      const list = await everything<{ id: string; score: number; grade: string }>(app, '/v1/leads?limit=100');
      t.strictSame(new Set(list.map(({ id }) => id)).size, all.length);
      t.equal(list.length, all.length);
      t.ok(
        list.every(({ score }, index) => index === 0 || score <= (list[index - 1]?.score ?? 0)),
        'in falling order',
      );
    });

    await t.test('sums are exact for every lead, at any time', async (t) => {
      const pool = openPool(app.connection, { size: 2, statementTimeout: 30_000 });
      t.teardown(() => pool.end());
      const db = poolDb(pool);
      const { body } = await app.request('GET', '/v1/lead-rule-sets?status=published&limit=1');
      const rules = await rulesById(db, body.data[0].id);
      const ids = [...numbers.keys()];
      for (const instant of ['2016-08-01T12:34:56.789Z', asOf, '2017-03-01T00:00:00.000Z']) {
        let wrong = 0;
        const scores = new Map<string, number>();
        for (let start = 0; start < ids.length; start += 500) {
          const some = ids.slice(start, start + 500);
          // What the API answers from, for many leads at once.
          const [found, learned] = await Promise.all([
            scoreDetails(db, rules, some, instant),
            learnedScoresOf(db, some, instant),
          ]);
          for (const id of some) {
            const [byRules, byModel] = [found.get(id)?.rule, learned?.get(id)];
            if (!byRules || !byModel) throw new Error(`${id} has no score`);
            wrong += inexact(byRules, byModel);
            scores.set(id, byRules.score);
            if (id !== some[0] && id !== some.at(-1)) continue;
            const { body: answer } = await app.request(
              'GET',
              `/v1/leads/${id}/score?asOf=${instant}&ruleSetId=${rules.id}`,
            );
            t.strictSame([answer.rule, answer.learned], [byRules, byModel], 'as answered');
          }
        }
        t.equal(scores.size, all.length);
        t.equal(wrong, 0, instant);
        if (instant !== asOf) continue;
        const area = areaUnderCurve(
          ids.map((id) => scores.get(id) ?? Number.NaN),
          ids.map((id) => outcomes.get(numbers.get(id) ?? '') ?? Number.NaN),
        );
        t.ok(area !== null && area >= 0.8 && area < 0.95, `the rules: AUC ${area}`);
      }
    });
  },
);
