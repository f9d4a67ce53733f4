import pg from 'pg';
import type { Config } from '../../src/config.ts';
import type { LeadStage } from '../../src/domain/lead-lifecycle.ts';
import { indexLeadScores, recomputeLeadScores } from '../../src/features/lead-scores/index-job.ts';
import { listLeads } from '../../src/features/lead-scores/lead-list.ts';
import type { JobHelpers } from '../../src/platform/jobs.ts';
import { call } from '../../src/platform/operation.ts';
import { type LeadStore, staffCount } from './lead-store.ts';
import { median, type Shot } from './load.ts';
import { interactionsOfLeads } from './pushes.ts';
import { type Line, type Stand, sample, send, servicesOn, statementsOf, timed } from './stand.ts';

/** Those whom somebody has to call. */
const openStages: LeadStage[] = ['subscriber', 'lead', 'marketing_qualified', 'sales_qualified'];

/** Fast is what a person does not notice, the way to the browser and its drawing included. */
const fast = 50;

/** Lists of leads by score, and the score of one with its reasons. */
export async function leads(stand: Stand<LeadStore>): Promise<Line[]> {
  const { store } = stand;
  const open = `/v1/leads?sort=-score&limit=100&stage=${openStages.join()}`;
  const anyOwner = () => `${open}&owner=staff${Math.floor(Math.random() * staffCount)}`;
  const lines = [
    await listed(stand, '100 leads by score', () => open),
    await listed(stand, 'their second page', () => open, { second: true }),
    await listed(stand, '100 leads of an owner by score', anyOwner),
    await listed(stand, '100 leads of grade B by score', () => `${open}&grade=B`),
    await pageStatements(stand),
    await scoreOfOne(stand),
    await interactionsOfLeads({ ...stand, store: { customers: store.leads } }),
  ];
  const [first] = lines;
  if (first) first.note = await withoutBounds(stand, open);
  return lines;
}

/** Requests one after another, the service and the floor taking turns. */
async function listed(
  stand: Stand<LeadStore>,
  measure: string,
  path: () => string,
  { second = false }: { second?: boolean } = {},
): Promise<Line> {
  const { service, floor, token, effort } = stand;
  const times = { service: [] as number[], floor: [] as number[] };
  const starts = { service: '', floor: '' };
  if (second) {
    for (const server of [service, floor]) {
      const { page } = await get(stand, server, path());
      starts[server.name] = `&after=${encodeURIComponent(page.next)}`;
    }
  }
  const warmUp = 20;
  for (let round = 0; round < warmUp + 20 * effort.rounds; round += 1) {
    const shot = path();
    for (const server of round % 2 === 0 ? [service, floor] : [floor, service]) {
      const shotAt: Shot = { method: 'GET', path: shot + starts[server.name] };
      const time = await timed(async () => {
        const { status, text } = await send(server, token, shotAt);
        if (status !== 200) throw new Error(`The ${server.name} answered ${status} ${text.slice(0, 500)}`);
      });
      if (round >= warmUp) times[server.name].push(time);
    }
  }
  const [ours, theirs] = [median(times.service), median(times.floor)];
  return {
    measure,
    service: `${ours.toFixed(1)} ms`,
    floor: `stored score ${theirs.toFixed(1)} ms`,
    ratio: ours / theirs,
    target: `≤ ${fast} ms`,
    met: ours <= fast,
  };
}

interface LeadPage {
  data: { id: string; score: number }[];
  page: { next: string };
}

async function get(stand: Stand<LeadStore>, server: Stand['service'], path: string): Promise<LeadPage> {
  const { status, text } = await send(server, stand.token, { method: 'GET', path });
  if (status !== 200) throw new Error(`The ${server.name} answered ${path} with ${status} ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

async function pageStatements(stand: Stand<LeadStore>): Promise<Line> {
  const counts: number[] = [];
  for (const limit of [10, 100]) {
    counts.push(
      await statementsOf(stand, (context) => call(listLeads, context, { sort: '-score', limit, stage: openStages })),
    );
  }
  return {
    measure: 'statements per list of leads',
    service: counts.join(', '),
    floor: 'of 10, 100',
    ratio: null,
    target: 'constant',
    met: new Set(counts).size === 1,
  };
}

/** Of leads drawn by interaction: those with many of them come up more often. */
async function scoreOfOne(stand: Stand<LeadStore>): Promise<Line> {
  const { service, effort } = stand;
  const ids = await sample(
    stand,
    `select customer_id from interactions tablesample system (0.1) order by random() limit 500`,
  );
  const times: number[] = [];
  for (const [index, id] of ids.slice(0, 20 + 40 * effort.rounds).entries()) {
    const time = await timed(() => get(stand, service, `/v1/leads/${id}/score`));
    if (index >= 20) times.push(time);
  }
  return {
    measure: 'score of a lead, with reasons',
    service: `${median(times).toFixed(1)} ms`,
    floor: '',
    ratio: null,
    target: `≤ ${fast} ms`,
    met: median(times) <= fast,
  };
}

/**
 * Right after a rule set was published its bounds are not complete: every score is computed. The answer has to be the
 * same one, so this also checks the fast list. Says how long it took.
 */
async function withoutBounds(stand: Stand<LeadStore>, path: string): Promise<string> {
  const { service, token, connection } = stand;
  const shot: Shot = { method: 'GET', path: `${path}&asOf=${new Date().toISOString()}` };
  const quick = await send(service, token, shot);
  const client = new pg.Client(connection);
  await client.connect();
  const { rows } = await client.query(
    `select id, indexed_at from lead_rule_sets where number = (select max(number) from lead_rule_sets)`,
  );
  const set = (at: unknown) =>
    client.query('update lead_rule_sets set indexed_at = $2 where id = $1', [rows[0].id, at]);
  let slow = quick;
  let milliseconds = 0;
  try {
    await set(null);
    milliseconds = await timed(async () => {
      slow = await send(service, token, shot);
    });
  } finally {
    await set(rows[0].indexed_at);
    await client.end();
  }
  const seconds = (milliseconds / 1000).toFixed(1);
  if (slow.status !== 200) return `without bounds it answers ${slow.status} after ${seconds} s`;
  const data = ({ text }: typeof quick) => JSON.stringify(JSON.parse(text).data);
  if (data(slow) !== data(quick)) throw new Error(`Not the leads of the highest scores: ${shot.path}`);
  return `without bounds (a rule set that was just published), all scores computed: ${seconds} s, the same leads`;
}

/** What the service does in the background: all bounds of a new store, those that are a day old of an older one. */
export async function indexStore(connection: pg.ClientConfig, config: Config): Promise<void> {
  const services = servicesOn(connection, config);
  try {
    const { rows } = await services.pool.query(
      `select id, exists (select from leads l where not exists (select from lead_score_bounds b where b.customer_id = l.customer_id)) as new
       from lead_rule_sets r where number = (select max(number) from lead_rule_sets)`,
    );
    if (!rows[0].new) {
      await recomputeLeadScores.run(services, {}, helpers());
      return;
    }
    await services.pool.query('update lead_rule_sets set indexed_at = null where id = $1', [rows[0].id]);
    await indexLeadScores.run(services, { ruleSetId: rows[0].id }, helpers());
  } finally {
    await services.pool.end();
  }
}

function helpers(): JobHelpers {
  const nobody = () => undefined;
  const log = { trace: nobody, debug: nobody, info: nobody, warn: nobody, error: nobody };
  return { now: new Date().toISOString(), attempt: 1, signal: new AbortController().signal, log };
}
