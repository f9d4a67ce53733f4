import { basename } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { FileError } from './csv.ts';
import { ServiceError, serviceAddress, serviceClient } from './service-client.ts';
import { readAnswers } from './surveys/read.ts';
import { type AnswerReport, sendAnswers } from './surveys/send.ts';

/**
 * `npm run import:survey-answers -- FILE`: pushes the answers of a survey into a running service. Progress goes to
 * standard error, the result to standard output.
 */

const scopes = 'customers:write surveys:read surveys:write survey-responses:write';

const command = new Command('import-survey-answers')
  .description(
    'Imports answers to a survey (CSV, plain or .gz) into the service at RAPPORT_URL (default: http://127.0.0.1:3000), ' +
      `with the token RAPPORT_TOKEN (scopes ${scopes.replaceAll(' ', ', ')}).`,
  )
  .argument('<file>', 'columns id, nps, satisfaction, intention, NbPassageKS, CaTicket, t')
  .option('--survey <name>', 'the survey they belong to; it is created if it does not exist', 'Garden centres')
  .addHelpText(
    'after',
    `
A row is a customer with its visits, last ticket and t as attributes, and a response. NA is not answered: the response is
complete without that answer, as no question is required. satisfaction and intention are on 0–10, satisfied from 8.
The file has no dates: an answer is given as many minutes after the beginning of 2015 as its id says.
It can be interrupted and repeated: what is there already stays as it is.`,
  )
  .allowExcessArguments(false)
  .parse();

async function run(file: string, survey: string): Promise<number> {
  const { url, token } = serviceAddress(scopes);
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const client = serviceClient({ url, token, onWait: (message) => console.error(`\n${message}`), signal: stop.signal });
  let total = 0;
  for await (const _ of readAnswers(file)) total += 1;
  const bar = new SingleBar({
    format: '{bar} {percentage} % | answer {value} of {total} | {eta_formatted}',
    barsize: 30,
    hideCursor: true,
    // Without a terminal: a line every few seconds.
    noTTYOutput: true,
    notTTYSchedule: 5_000,
  });
  bar.start(total, 0);
  let report: AnswerReport;
  try {
    report = await sendAnswers(client, survey, readAnswers(file), {
      signal: stop.signal,
      onProgress: (sent) => bar.update(sent),
    });
  } finally {
    bar.stop();
  }
  const { surveyId, created, updated, unchanged } = report;
  const refused = [...report.refusals].map(([reason, { count, example }]) => `  ${count} (id ${example}): ${reason}`);
  console.log(
    [
      `${basename(file)}: ${created} of ${total} responses new, ${updated} changed, ${unchanged} there already.`,
      ...(refused.length > 0 ? ['Refused by the service:', ...refused] : []),
      ...(stop.signal.aborted ? ['Interrupted. Go on with the same command.'] : []),
      `Their score:  GET /v1/metrics/net-promoter-score?surveyId=${surveyId}`,
    ].join('\n'),
  );
  if (stop.signal.aborted) return 130;
  return report.refusals.size > 0 ? 1 : 0;
}

try {
  process.exitCode = await run(command.args[0] ?? '', command.opts<{ survey: string }>().survey);
} catch (error) {
  const expected = error instanceof FileError || error instanceof ServiceError;
  console.error(expected ? error.message : error);
  process.exitCode = 1;
}
