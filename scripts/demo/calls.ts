import type { z } from 'zod';
import { listCampaignResults } from '../../src/features/campaigns/results.ts';
import { customerRecord } from '../../src/features/customers/record.ts';
import { listLeadModels } from '../../src/features/lead-models/operations.ts';
import { listLeads } from '../../src/features/lead-scores/lead-list.ts';
import { leadScore } from '../../src/features/lead-scores/record.ts';
import { metricResult } from '../../src/features/metrics/model.ts';
import type { ServiceClient } from '../service-client.ts';

/** Who to call next, and why; what the campaigns brought: the same for the same store, on every machine. */

const open = 'subscriber,lead,marketing_qualified,sales_qualified';
const reasonsShown = 3;

export async function callTable(client: ServiceClient, count: number): Promise<string> {
  const { data } = listLeads.output.parse(
    await client.request('GET', `/v1/leads?sort=-score&stage=${open}&limit=${count}`),
  );
  const rows = await Promise.all(
    data.map(async (lead, index) => {
      const [who, score] = await Promise.all([
        client.request('GET', `/v1/customers/${lead.id}`).then((answer) => customerRecord.output.parse(answer)),
        client.request('GET', `/v1/leads/${lead.id}/score`).then((answer) => leadScore.parse(answer)),
      ]);
      return [
        String(index + 1),
        who.name ?? who.references[0]?.externalId ?? '',
        lead.stage.replace('_', ' '),
        lead.owner ?? '—',
        score.rule.grade,
        score.rule.score.toFixed(1),
        score.learned ? `${(100 * score.learned.probability).toFixed(0)} %` : '—',
        reasonsOf(score.rule.contributions),
      ];
    }),
  );
  return table(['', 'lead', 'stage', 'owner', 'grade', 'score', 'learned', 'because'], rows, [0, 5, 6]);
}

type Contribution = z.output<typeof leadScore>['rule']['contributions'][number];

/** What weighs most. */
function reasonsOf(contributions: readonly Contribution[]): string {
  return [...contributions]
    .sort((a, b) => b.points - a.points)
    .slice(0, reasonsShown)
    .map(({ rule, points, evidence }) => {
      const day = evidence[0]?.occurredAt.slice(0, 10);
      return `${rule} ${points.toFixed(1)}${day ? ` (${day})` : ''}`;
    })
    .join(', ');
}

/** How the funnel stands. */
export async function funnelLines(client: ServiceClient): Promise<string> {
  const funnel = metricResult.parse(await client.request('GET', '/v1/metrics/lead-funnel'));
  const { values, numerator, denominator, value } = funnel;
  const share = (ratio: number | null | undefined) =>
    ratio === null || ratio === undefined ? '—' : `${(100 * ratio).toFixed(1)} %`;
  const hours = (number: number | null | undefined) =>
    number === null || number === undefined ? '—' : `${number.toFixed(1)} h`;
  return [
    `Converted ${share(value)} (${numerator} of ${denominator} leads); of ${values.open} open ones ${values.inMarketingQualified} are qualified by marketing and ${values.inSalesQualified} by sales`,
    `Nobody has touched ${share(values.untouchedShare)} of the open ones for two weeks; ${share(values.underQualifiedShare)} have less than half a profile`,
    `First answer after ${hours(values.timeToFirstResponseMedianHours)} (median), ${hours(values.timeToFirstResponseP90Hours)} (90th percentile); ${values.unanswered} still wait`,
  ].join('\n');
}

/** How good the learned score is. The folds go by the ids of the leads, which are new in every store. */
export async function learnedLine(client: ServiceClient): Promise<string> {
  const { data } = listLeadModels.output.parse(await client.request('GET', '/v1/lead-models?limit=1'));
  const [model] = data;
  if (!model?.quality) return `Nothing learned: ${model?.reason?.message ?? model?.status ?? 'there is no model'}`;
  const { auc, lift } = model.quality;
  return (
    `Learned from ${model.counts?.leads} leads without their profiles, which a purchase fills in: AUC ${auc?.toFixed(3)} over ` +
    `five folds; the best tenth converts ${lift[0]?.lift?.toFixed(1)} times as often as the average (GET /v1/lead-models).`
  );
}

export async function campaignTable(client: ServiceClient): Promise<string> {
  const { data } = listCampaignResults.output.parse(await client.request('GET', '/v1/campaigns/results?windowDays=30'));
  const euros = (minor: number | null) => (minor === null ? '—' : (minor / 100).toFixed(2));
  const rows = data.map((one) => [
    one.name,
    String(one.touches),
    String(one.responses),
    String(one.leads),
    String(one.orders),
    euros(one.revenue),
    euros(one.cost),
    euros(one.costPer.order),
  ]);
  const heads = ['campaign', 'touches', 'responses', 'leads', 'orders', 'revenue', 'cost', 'cost per order'];
  return table(heads, rows, [1, 2, 3, 4, 5, 6, 7]);
}

/** @param right the columns that are numbers */
export function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[],
): string {
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [line(heads), ...rows.map(line)].join('\n');
}
