import { setTimeout as sleep } from 'node:timers/promises';
import { compete, type Figures } from './compete.ts';
import { differencesOf } from './differences.ts';
import { type LeadStore, staffCount } from './lead-store.ts';
import { line, type Measure, single, time } from './measure.ts';
import { ask, get, postJson, sample, send, timed, timing, type Version } from './stand.ts';
import { interactionsOfLeads } from './writes.ts';

/** Those whom somebody has to call. */
const open = '/v1/leads?sort=-score&limit=100&stage=subscriber,lead,marketing_qualified,sales_qualified';
/** Fast is what a person does not notice, the way to the browser and its drawing included. */
const mark = { within: 50 };

/** Scores fade: two versions have to be asked as of the same instant. */
const asOfNow = (path: string) => get(`${path}&asOf=${new Date().toISOString()}`);

const listed = (name: string, title: string, path: string): Measure<LeadStore> =>
  time({ name, title, mark, againstFloor: true, shot: () => get(path), still: () => asOfNow(path) });

/**
 * A rule set with the rules of the default one is published, and the first list after it is timed. Those that follow wait until the
 * background job is through.
 */
const published: Measure<LeadStore> = {
  name: 'leads-published',
  async run(stand) {
    const figures: Figures = {};
    const notes: string[] = [];
    for (const version of stand.versions) {
      const id = await publish(version);
      const milliseconds = await timed(async () => {
        const { status, text } = await send(version, get(open));
        if (status !== 200) notes.push(`${version.name} answers ${status} ${text.slice(0, 200)}`);
      });
      figures[version.name] = single(milliseconds / 1000);
      const seconds = (await timed(() => indexed(version, id))) / 1000;
      notes.push(`${version.name}: the scores of all were ready ${seconds.toFixed(0)} s after that`);
    }
    return [line('100 leads by score, after publishing a rule set', 's', figures, { within: 2 }, { notes })];
  },
};

async function publish(version: Version): Promise<string> {
  const { data } = await ask(version, get('/v1/lead-rule-sets?limit=1'));
  const { id } = await ask(version, postJson('/v1/lead-rule-sets', { name: 'Bench', document: data[0].document }));
  await ask(version, postJson(`/v1/lead-rule-sets/${id}/publish`, {}, { 'if-match': '*' }));
  return id;
}

async function indexed(version: Version, id: string): Promise<void> {
  const deadline = Date.now() + 900_000;
  while (Date.now() < deadline) {
    const { indexedAt } = await ask(version, get(`/v1/lead-rule-sets/${id}`));
    if (indexedAt !== null) return;
    await sleep(200);
  }
  throw new Error(`${version.name} has not computed the scores of all leads.`);
}

/** Of any owner, so that no list is asked twice in a row. */
const ofOwners: Measure<LeadStore> = {
  name: 'leads-owner',
  async run(stand) {
    const path = () => `${open}&owner=staff${Math.floor(Math.random() * staffCount)}`;
    const figures = await compete(
      [stand.floor, ...stand.versions].map((server) =>
        timing(server.name, server.spent, () => ask(server, get(path())), stand.effort),
      ),
      stand.effort,
    );
    const differences = await differencesOf(stand, [asOfNow(path())]);
    return [line('100 leads of an owner by score', 'ms', figures, mark, { differences })];
  },
};

const secondPage: Measure<LeadStore> = {
  name: 'leads-second-page',
  async run(stand) {
    const lanes = [stand.floor, ...stand.versions].map(async (server) => {
      const { page } = await ask(server, get(open));
      const path = `${open}&after=${encodeURIComponent(page.next)}`;
      return timing(server.name, server.spent, () => ask(server, get(path)), stand.effort);
    });
    return [line('their second page', 'ms', await compete(await Promise.all(lanes), stand.effort), mark)];
  },
};

/** Of leads drawn by interaction: those with many of them come up more often. */
const scoreOfOne: Measure<LeadStore> = {
  name: 'leads-score',
  async run(stand) {
    const ids = await sample(stand, 'select customer_id from interactions order by random() limit 500');
    let next = 0;
    const path = () => {
      next += 1;
      return get(`/v1/leads/${ids[next % ids.length]}/score`);
    };
    const lanes = stand.versions.map((version) =>
      timing(version.name, version.spent, () => ask(version, path()), stand.effort),
    );
    return [line('score of a lead, with reasons', 'ms', await compete(lanes, stand.effort), mark)];
  },
};

/** Lists of leads by score. The floor has the score as a column with an index. */
export const leads: Measure<LeadStore>[] = [
  published,
  listed('leads', '100 leads by score', open),
  secondPage,
  ofOwners,
  listed('leads-grade', '100 leads of grade B by score', `${open}&grade=B`),
  scoreOfOne,
  interactionsOfLeads,
];
