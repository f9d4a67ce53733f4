import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { packageRoot } from '../../src/config.ts';
import type { MetricAnswer } from '../../src/features/metrics/model.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { runNode } from '../support/command.ts';

/**
 * The answers of 4,106 customers of a chain of garden centres, imported as people would, against a direct count over the
 * file. Satisfied is who gave 8 to 10; some rows leave a question out.
 */
const file = join(packageRoot, '../shared/data/surveys/nps_garden_shared.csv.gz');
const survey = 'Garden centres';
/** When the importer says that an id answered. */
const at = (id: number) => new Date(Date.UTC(2015, 0, 1) + id * 60_000).toISOString();

interface Row {
  id: number;
  nps: number;
  satisfaction: number;
  intention: number;
}

/** NaN: not answered. */
function rowsOf(text: string): Row[] {
  const lines = text.trim().split('\n').slice(1);
  return lines.map((line) => {
    const [id, nps, satisfaction, intention] = line.split(',').map(Number);
    return { id: id ?? 0, nps: nps ?? 0, satisfaction: satisfaction ?? 0, intention: intention ?? 0 };
  });
}

/** The command as people start it. */
function runImport(app: TestApp, args: string[]) {
  const token = app.token('customers:write surveys:read surveys:write survey-responses:write', 'importer');
  return runNode(['--import=tsx', 'scripts/import-survey-answers.ts', ...args], {
    RAPPORT_URL: app.origin,
    RAPPORT_TOKEN: token,
  });
}

t.test(
  'a real survey through the API',
  { skip: existsSync(file) ? false : `${file} is not there: real data is not tested`, timeout: 600_000 },
  async (t) => {
    const app = await testApp(t);
    const rows = rowsOf(gunzipSync(readFileSync(file)).toString('utf8'));
    t.equal(rows.length, 4106);
    const imported = await runImport(app, [file]);
    t.equal(imported.code, 0, imported.output);
    t.match(imported.output, /4106 of 4106 responses new, 0 changed, 0 there already/);
    const { body: surveys } = await app.request('GET', '/v1/surveys');
    t.match(surveys.data, [{ name: survey, status: 'open', currentVersion: 1 }]);
    const surveyId: string = surveys.data[0].id;
    const metric = async (path: string): Promise<MetricAnswer> =>
      (await app.request('GET', `/v1/metrics/${path}`)).body;

    function direct(some: Row[]) {
      const count = (test: (score: number) => boolean) => some.filter(({ nps }) => test(nps)).length;
      const [promoters, passives, detractors] = [
        count((n) => n >= 9),
        count((n) => n === 7 || n === 8),
        count((n) => n <= 6),
      ];
      const answers = promoters + passives + detractors;
      return { value: (100 * (promoters - detractors)) / answers, answers, promoters, passives, detractors };
    }
    const told = ({
      value,
      denominator,
      values: { promoters, passives, detractors },
    }: Pick<MetricAnswer, 'value' | 'denominator' | 'values'>) => ({
      value,
      answers: denominator,
      promoters,
      passives,
      detractors,
    });

    await t.test('the Net Promoter Score is that of the file', async (t) => {
      const expected = direct(rows);
      t.equal(expected.answers, 4106 - 98, 'with those who left it out not in it');
      for (const question of [
        '',
        `?surveyId=${surveyId}`,
        '?answers=all',
        `?surveyId=${surveyId}&question=nps&answers=all&include=partial,late`,
      ]) {
        const answer = await metric(`net-promoter-score${question}`);
        t.strictSame(told(answer), expected, question);
        t.strictSame([answer.excluded, answer.warnings, answer.lowSample], [[], [], false], question);
        t.ok((answer.interval?.low ?? 100) < expected.value && expected.value < (answer.interval?.high ?? -100));
      }
      t.comment(`NPS ${expected.value} of ${expected.answers}: ${JSON.stringify(expected)}`);
    });

    await t.test('as of the past, and week by week', async (t) => {
      const before = rows.filter(({ id }) => id < 50_000);
      t.strictSame(told(await metric(`net-promoter-score?asOf=${at(50_000)}`)), direct(before));
      const { series } = await metric(
        'net-promoter-score?from=2015-01-05&to=2015-03-30&interval=week&timeZone=Europe/Paris',
      );
      t.equal(series.length, 12);
      for (const point of series) {
        const inside = rows.filter(({ id, nps }) => !Number.isNaN(nps) && at(id) >= point.from && at(id) < point.to);
        if (inside.length === 0) t.strictSame([point.value, point.denominator], [null, 0]);
        else t.strictSame(told(point), direct(inside), point.start);
      }
    });

    await t.test('satisfaction is the share of 8 to 10, by the metric and by its list', async (t) => {
      for (const question of ['satisfaction', 'intention'] as const) {
        const scores = rows.map((row) => row[question]).filter((score) => !Number.isNaN(score));
        const satisfied = scores.filter((score) => score >= 8).length;
        const answer = await metric(`customer-satisfaction?surveyId=${surveyId}&question=${question}`);
        t.strictSame(
          [answer.value, answer.numerator, answer.denominator, answer.warnings],
          [(100 * satisfied) / scores.length, satisfied, scores.length, []],
          question,
        );
        const list = `/v1/metrics/customer-satisfaction/members?surveyId=${surveyId}&question=${question}&limit=100&count=true`;
        const of = async (more: string) => (await app.request('GET', `${list}${more}`)).body.page.total;
        t.equal(await of(''), scores.length);
        t.equal(await of('&band=satisfied'), satisfied);
        t.comment(`${question}: ${satisfied} of ${scores.length}`);
      }
      const unnamed = await metric('customer-satisfaction');
      t.equal(unnamed.denominator, 4106 - 13, 'unless named, the first question of the type');

      // The list itself, page after page: every answer once, each with its score of the file.
      const byId = new Map(rows.map((row) => [String(row.id), row]));
      let [satisfied, listed] = [0, 0];
      for (let after = ''; ; ) {
        const { body } = await app.request('GET', `/v1/metrics/customer-satisfaction/members?limit=100${after}`);
        for (const { score, response } of body.data) {
          const row = byId.get(response.submissionId);
          if (row?.satisfaction !== score)
            t.fail(`${response.submissionId} has ${score}, the file ${row?.satisfaction}`);
          byId.delete(response.submissionId);
          listed += 1;
          satisfied += score >= 8 ? 1 : 0;
        }
        if (body.page.next === null) break;
        after = `&after=${encodeURIComponent(body.page.next)}`;
      }
      t.strictSame([listed, satisfied], [unnamed.denominator, unnamed.numerator]);
    });

    await t.test('importing it again changes nothing', async (t) => {
      const again = await runImport(app, [file]);
      t.equal(again.code, 0, again.output);
      t.match(again.output, /0 of 4106 responses new, 0 changed, 4106 there already/);
      t.equal((await app.request('GET', '/v1/surveys?count=true')).body.page.total, 1);
      t.equal((await app.request('GET', '/v1/survey-responses?limit=1&count=true')).body.page.total, 4106);
      t.equal((await app.request('GET', '/v1/customers?limit=1&count=true')).body.page.total, 4106);
      t.strictSame(told(await metric('net-promoter-score')), direct(rows));
    });

    await t.test('what is no such file', async (t) => {
      const folder = t.testdir({});
      const wrong = join(folder, 'other.csv');
      await writeFile(wrong, 'id,nps\n1,2\n');
      const refused = await runImport(app, [wrong]);
      t.equal(refused.code, 1);
      t.match(refused.output, /no column satisfaction, intention/);

      const odd = join(folder, 'odd.csv');
      await writeFile(
        odd,
        'id,nps,satisfaction,intention,NbPassageKS,CaTicket,t\n1,11,8,9,1,2.5,0\n2,NA,NA,NA,1,-3,0\n3,9,5.5,1,1,1,0\n4,10,10,10,1,1,1\n',
      );
      const partly = await runImport(app, [odd, '--survey', 'Odd']);
      t.equal(partly.code, 1, partly.output);
      t.match(partly.output, /2 of 4 responses new/);
      t.match(partly.output, /1 \(id 1\)/);
      const { body: all } = await app.request('GET', '/v1/surveys');
      const odder = all.data.find(({ name }: { name: string }) => name === 'Odd');
      t.match(await metric(`net-promoter-score?surveyId=${odder.id}`), {
        denominator: 1,
        lowSample: true,
        excluded: [{ reason: 'dismissed', count: 1 }],
      });
    });
  },
);
