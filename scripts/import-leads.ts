import { basename } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { FileError } from './csv.ts';
import { filledInBySales, readLeads } from './leads/read.ts';
import { type LeadReport, sendLeads } from './leads/send.ts';
import { ServiceError, serviceAddress, serviceClient } from './service-client.ts';

/**
 * `npm run import:leads -- FILE`: pushes the leads of "X Education" into a running service. Progress goes to standard
 * error, the result to standard output.
 */

const command = new Command('import-leads')
  .description(
    'Imports the X Education leads (CSV, plain or .gz) into the service at RAPPORT_URL (default: http://127.0.0.1:3000), ' +
      'with the token RAPPORT_TOKEN (scopes customers:write, leads:write and interactions:write).',
  )
  .argument('<file>', 'header Prospect ID,Lead Number,Lead Origin,Lead Source, …')
  .option('--open', 'ignore the column Converted: for leads whose outcome is not known yet', false)
  .addHelpText(
    'after',
    `
A row is a customer with the columns of the profile as attributes, a lead, a web visit for each of its visits, and its
last activities. The file has no dates: they are made from the lead's number, by the same rule for all.
It can be interrupted and repeated: what is there already stays as it is.`,
  )
  .allowExcessArguments(false)
  .parse();

async function run(file: string, open: boolean): Promise<number> {
  const { url, token } = serviceAddress('customers:write leads:write interactions:write');
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const client = serviceClient({ url, token, onWait: (message) => console.error(`\n${message}`), signal: stop.signal });
  let total = 0;
  for await (const _ of readLeads(file)) total += 1;
  const bar = new SingleBar({
    format: '{bar} {percentage} % | lead {value} of {total} | {interactions} interactions | {eta_formatted}',
    barsize: 30,
    hideCursor: true,
    // Without a terminal: a line every few seconds.
    noTTYOutput: true,
    notTTYSchedule: 5_000,
  });
  bar.start(total, 0, { interactions: 0 });
  let report: LeadReport;
  try {
    report = await sendLeads(client, open ? withoutOutcome(readLeads(file)) : readLeads(file), {
      signal: stop.signal,
      onProgress: ({ leads, interactions }) => bar.update(leads, { interactions }),
    });
  } finally {
    bar.stop();
  }
  const refused = [...report.refusals].map(([reason, { count, example }]) => `  ${count} (lead ${example}): ${reason}`);
  console.log(
    [
      `${basename(file)}: ${report.leads} of ${total} leads, ${report.interactions} interactions, ${report.conversions} conversions.`,
      ...(refused.length > 0 ? ['Refused by the service:', ...refused] : []),
      ...(stop.signal.aborted ? ['Interrupted. Go on with the same command.'] : []),
      `To learn from them:  POST /v1/lead-models  ${JSON.stringify({ exclude: filledInBySales })}`,
    ].join('\n'),
  );
  if (stop.signal.aborted) return 130;
  return report.refusals.size > 0 ? 1 : 0;
}

async function* withoutOutcome(records: ReturnType<typeof readLeads>): ReturnType<typeof readLeads> {
  for await (const record of records) yield { ...record, convertedAt: null };
}

try {
  process.exitCode = await run(command.args[0] ?? '', command.opts<{ open: boolean }>().open);
} catch (error) {
  const expected = error instanceof FileError || error instanceof ServiceError;
  console.error(expected ? error.message : error);
  process.exitCode = 1;
}
