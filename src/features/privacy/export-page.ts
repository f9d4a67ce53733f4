import { createHash } from 'node:crypto';
import { isCurrency, minorUnits } from '../../domain/currencies.ts';
import { formatDecimal } from '../../domain/money.ts';
import { escapeMarkup } from '../../platform/markup.ts';
import { type ExportWriter, type Head, held, type Section } from './held.ts';

const style = `
:root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 2px solid #444; padding-bottom: .2rem; }
nav ol { columns: 2; padding-left: 1.6rem; }
nav a { color: inherit; }
.count { color: #555; font-weight: normal; }
.none { color: #555; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
thead { display: table-header-group; }
th, td { border: 1px solid #ccc; padding: .25rem .45rem; text-align: left; vertical-align: top; }
th { background: #f2f2f2; }
td, dd { overflow-wrap: anywhere; unicode-bidi: isolate; white-space: pre-wrap; }
td.number, dd.number { font-variant-numeric: tabular-nums; }
td.number { text-align: right; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .1rem 1rem; margin: 0; }
dt { color: #555; }
dd { margin: 0; }
article { border: 1px solid #ccc; border-radius: 4px; padding: .5rem .8rem; margin: .5rem 0; font-size: .88rem; break-inside: avoid; }
.id { font-family: ui-monospace, monospace; font-size: .78rem; color: #555; }
@media print { body { max-width: none; margin: 0; } tr, article { break-inside: avoid; } }
`;

/** Nothing is loaded or run; the one style is known by its digest. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox`,
  'Referrer-Policy': 'no-referrer',
};

/** Sections with at most so many members are tables; others would not fit on paper. */
const widest = 9;

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const instantPattern = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.000)?(\.\d+)?Z$/;

/** `placedAt` → `Placed at`. */
export function labelOf(member: string): string {
  const words = member.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** `1530`, `GBP` → `GBP 15.30`. */
export function moneyText(minor: number, currency: string): string {
  if (!isCurrency(currency)) return String(minor);
  const digits = minorUnits(currency);
  const decimal = formatDecimal({ digits: BigInt(minor), scale: digits });
  const [whole = '0', fraction = ''] = decimal.replace('-', '').split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  const shown = digits === 0 ? grouped : `${grouped}.${fraction.padEnd(digits, '0')}`;
  return `${currency} ${minor < 0 ? '−' : ''}${shown}`;
}

interface Shown {
  text: string;
  kind: 'number' | 'id' | '';
}

function shown(value: unknown): Shown {
  if (typeof value === 'boolean') return { text: value ? 'yes' : 'no', kind: '' };
  if (typeof value === 'number') return { text: String(value), kind: 'number' };
  if (typeof value !== 'string') return { text: documentText(value), kind: '' };
  if (idPattern.test(value)) return { text: value, kind: 'id' };
  const instant = instantPattern.exec(value);
  return { text: instant ? `${instant[1]} ${instant[2]}${instant[3] ?? ''} UTC` : value, kind: '' };
}

/** Lists and documents, line by line. */
function documentText(value: unknown, indent = ''): string {
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value))
    return value.map((one) => documentText(one, indent)).join(value.some(isDocument) ? '\n' : ', ');
  return Object.entries(value)
    .map(([name, inner]) =>
      isDocument(inner)
        ? `${indent}${name}:\n${documentText(inner, `${indent}  `)}`
        : `${indent}${name}: ${String(inner)}`,
    )
    .join('\n');
}

function isDocument(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

/** A page without scripts that shows an export. */
export function pageWriter(): ExportWriter {
  let baseCurrency = '';
  let inTable = false;
  const cellOf = (section: Section, record: Record<string, unknown>, member: string): Shown | null => {
    const value = record[member];
    if (value === null || value === undefined) return null;
    const amountOf = section.amounts[member];
    if (amountOf === undefined || typeof value !== 'number') return shown(value);
    const currency = amountOf === 'base' ? baseCurrency : String(record['currency'] ?? '');
    return { text: moneyText(value, currency), kind: 'number' };
  };
  const isTable = ({ members, single }: Section) => !single && members.length <= widest;
  const mark = ({ kind }: Shown) => (kind === '' ? '' : ` class="${kind}"`);
  return {
    begin(head) {
      baseCurrency = head.baseCurrency;
      return opening(head);
    },
    section(section, count) {
      const { name, label } = section;
      const heading = `<section id="${escapeMarkup(name)}">\n<h2>${escapeMarkup(label)} <span class="count">(${count})</span></h2>\n`;
      inTable = count > 0 && isTable(section);
      if (count === 0) return `${heading}<p class="none">Nothing is held.</p>\n`;
      if (!inTable) return heading;
      const names = section.members.map((member) => `<th scope="col">${escapeMarkup(labelOf(member))}</th>`).join('');
      return `${heading}<table>\n<thead><tr>${names}</tr></thead>\n<tbody>\n`;
    },
    record(section, record) {
      const { members } = section;
      if (isTable(section)) {
        const cells = members.map((member) => {
          const value = cellOf(section, record, member);
          return value === null ? '<td></td>' : `<td${mark(value)}>${escapeMarkup(value.text)}</td>`;
        });
        return `<tr>${cells.join('')}</tr>\n`;
      }
      const lines = members.flatMap((member) => {
        const value = cellOf(section, record, member);
        return value === null
          ? []
          : [`<dt>${escapeMarkup(labelOf(member))}</dt><dd${mark(value)}>${escapeMarkup(value.text)}</dd>`];
      });
      return `<article><dl>\n${lines.join('\n')}\n</dl></article>\n`;
    },
    endSection: () => `${inTable ? '</tbody>\n</table>\n' : ''}</section>\n`,
    end: () => '</main>\n</body>\n</html>\n',
  };
}

function opening({ customerId, exportedAt, erasedAt, mergedFrom, counts }: Head): string {
  const contents = held()
    .sections.map(
      ({ name, label }) =>
        `<li><a href="#${escapeMarkup(name)}">${escapeMarkup(label)}</a> <span class="count">(${counts[name] ?? 0})</span></li>`,
    )
    .join('\n');
  const notes = [
    `<p>Customer <span class="id">${customerId}</span>, as of ${escapeMarkup(shown(exportedAt).text)}.</p>`,
    ...(erasedAt === null
      ? []
      : [
          `<p><strong>The person was erased on ${escapeMarkup(shown(erasedAt).text)}.</strong> What follows is kept without saying whose it was.</p>`,
        ]),
    ...(mergedFrom.length === 0
      ? []
      : [
          `<p>What was held under ${mergedFrom.map((id) => `<span class="id">${id}</span>`).join(', ')} became part of it; records that came from there say so.</p>`,
        ]),
    '<p>Instants are in UTC. Members that are empty are left out of lists.</p>',
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Everything held about a customer</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>Everything held about a customer</h1>
${notes.join('\n')}
</header>
<nav>
<h2>Contents</h2>
<ol>
${contents}
</ol>
</nav>
<main>
`;
}
