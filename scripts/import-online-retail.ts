import { basename } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { FileError, skipReasons, survey } from './online-retail/read.ts';
import { CurrencyError, checkService, type Report, sendInvoices } from './online-retail/send.ts';
import { ServiceError, serviceAddress, serviceClient } from './service-client.ts';

/**
 * `npm run import:online-retail -- FILE`: pushes a year of "Online Retail" into a running service. Progress goes to
 * standard error, the result to standard output.
 */

/** Ctrl-C under npm arrives twice, from the terminal and from npm; a person needs longer to ask again. */
const sameSignal = 1_000;

function lineNumber(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError('A line number, counted from 1 without the header.');
  return Number(text);
}

const command = new Command('import-online-retail')
  .description(
    'Imports the Online Retail II CSV (plain or .gz) into the service at RAPPORT_URL (default: http://127.0.0.1:3000), ' +
      'with the token RAPPORT_TOKEN (scopes orders:write and returns:write).',
  )
  .argument(
    '<file>',
    'header Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country, or that of the older edition',
  )
  .option('--from-line <line>', 'skip invoices that are complete before this line', lineNumber)
  .addHelpText(
    'after',
    `
An invoice is an order; one that starts with C is a return without an order. Amounts are summed exactly and rounded
once, to pence. Its time is that of its earliest line, Europe/London. Nothing is a test order, and equal lines are real.
Lines of an invoice need not be together: it is sent when its last line was read.
It can be interrupted and repeated: invoices that are there already stay as they are ("unchanged"), unless the file
was written later than the one they came from ("updated").`,
  )
  .allowExcessArguments(false)
  .parse();

async function run(file: string, fromLine: number | undefined): Promise<number> {
  const { url, token } = serviceAddress('orders:write returns:write');
  const stop = new AbortController();
  const bar = new SingleBar({
    format: '{bar} {percentage} % | line {value} of {total} | {orders} orders, {returns} returns | {eta_formatted}',
    barsize: 30,
    hideCursor: true,
    stopOnComplete: false,
    // Without a terminal: a line every few seconds.
    noTTYOutput: true,
    notTTYSchedule: 5_000,
  });
  const client = serviceClient({ url, token, onWait: (message) => console.error(`\n${message}`), signal: stop.signal });
  const started = Date.now();
  let firstSignal = 0;
  const onSignal = () => {
    if (firstSignal === 0) {
      firstSignal = Date.now();
      console.error('\nSending what was read …');
      stop.abort();
    } else if (Date.now() - firstSignal > sameSignal) {
      process.exit(130);
    }
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);

  console.error(`Looking through ${basename(file)} …`);
  const found = await survey(file);
  console.error(`${found.lines} lines, ${found.lastLines.size} invoices with a customer. Asking ${url} …`);
  await checkService(client, found);
  if (stop.signal.aborted) return 130;
  bar.start(found.lines, fromLine ?? 0, { orders: 0, returns: 0 });
  let report: Report;
  try {
    report = await sendInvoices(client, found, {
      ...(fromLine !== undefined && { fromLine }),
      signal: stop.signal,
      onProgress(line, { orders, returns }) {
        // A call per line of the file would cost more than reading it.
        if (line % 500 === 0 || line === found.lines) bar.update(line, { orders: orders.sent, returns: returns.sent });
      },
    });
  } finally {
    bar.stop();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  console.log(describe(file, report, (Date.now() - started) / 1000));
  if (report.failure) return 1;
  if (!report.finished) return 130;
  return report.refusals.size > 0 ? 1 : 0;
}

function describe(file: string, report: Report, seconds: number): string {
  const numbers = new Intl.NumberFormat('en');
  const columns = ['sent', 'created', 'updated', 'unchanged', 'refused'] as const;
  const row = (name: string, cells: readonly (string | number)[]) =>
    name.padEnd(8) +
    cells.map((cell) => (typeof cell === 'number' ? numbers.format(cell) : cell).padStart(11)).join('');
  const skipped = [...report.skipped].map(([reason, { invoices, lines }]) => {
    const what =
      invoices > 0
        ? `${numbers.format(invoices)} invoices (${numbers.format(lines)} lines)`
        : `${numbers.format(lines)} lines`;
    return `  ${what}: ${skipReasons[reason]}`;
  });
  const refused = [...report.refusals].map(
    ([reason, { count, example }]) => `  ${numbers.format(count)} (invoice ${example}, for example): ${reason}`,
  );
  return [
    report.finished
      ? `${basename(file)} is in, after ${seconds.toFixed(0)} s.`
      : `${report.failure?.message ?? 'Interrupted.'}\nGo on with the same command, or faster with:  --from-line ${report.nextLine}`,
    row('', columns),
    row(
      'orders',
      columns.map((column) => report.orders[column]),
    ),
    row(
      'returns',
      columns.map((column) => report.returns[column]),
    ),
    skipped.length > 0 ? `Skipped:\n${skipped.join('\n')}` : 'Skipped: nothing.',
    ...(refused.length > 0 ? [`Refused by the service:\n${refused.join('\n')}`] : []),
  ].join('\n');
}

try {
  process.exitCode = await run(command.args[0] ?? '', command.opts<{ fromLine?: number }>().fromLine);
} catch (error) {
  const expected = [FileError, CurrencyError, ServiceError].some((kind) => error instanceof kind);
  console.error(expected && error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
