import type { z } from 'zod';
import type { customerRecord } from '../../src/features/customers/record.ts';
import type { surveyResponseInput } from '../../src/features/survey-responses/model.ts';
import type { surveyQuestionInput } from '../../src/features/surveys/model.ts';
import { FileError, readTable } from '../csv.ts';

/**
 * Reads answers to a survey with the columns id, nps, satisfaction, intention (0–10 each, `NA`: not answered), NbPassageKS
 * (visits), CaTicket (last ticket) and t (not documented), as a chain of garden centres published them (CC0, NPSgame by
 * C. Benavent). Each row is a customer with its visits, last ticket and t as attributes, and a complete response that
 * leaves out what was not answered: no question is required. Without any answer it is a dismissed one.
 *
 * The file has no dates: an answer is given as many minutes after the beginning of 2015 as its id says.
 */

export const source = 'survey-file';

/** Satisfied, and willing to come back, from this score up. */
export const topBoxFrom = 8;

const scale = { min: 0, max: 10, topBoxFrom };

/** The questions, each under the name of its column. */
export const questions: z.input<typeof surveyQuestionInput>[] = [
  { key: 'nps', type: 'nps', text: 'How likely are you to recommend us?' },
  { key: 'satisfaction', type: 'csat', text: 'How satisfied are you with us?', scale },
  { key: 'intention', type: 'csat', text: 'How likely are you to come back?', scale },
];

export interface AnswerRecord {
  /** Counted from 1, the header aside. */
  line: number;
  id: string;
  customer: z.input<(typeof customerRecord)['input']>;
  response: z.input<typeof surveyResponseInput>;
}

const attributes = { visits: 'NbPassageKS', lastTicket: 'CaTicket', t: 't' };
const columns = ['id', ...questions.map(({ key }) => key), ...Object.values(attributes)];

const beginning = Date.parse('2015-01-01T00:00:00Z');
const minute = 60_000;

/** The rows of the file, one after the other; `.gz` is unpacked. @throws FileError */
export async function* readAnswers(file: string): AsyncGenerator<AnswerRecord> {
  let line = 0;
  for await (const row of readTable(file, { columns, what: 'such a survey' })) {
    line += 1;
    yield toRecord(row, line);
  }
}

function toRecord(row: Record<string, string>, line: number): AnswerRecord {
  const id = row['id'] ?? '';
  if (!/^\d{1,9}$/.test(id)) throw new FileError(`Line ${line}: "${id}" is no id.`);
  const number = (column: string): number | null => {
    const cell = row[column] ?? '';
    if (cell === 'NA' || cell === '') return null;
    if (!/^-?\d{1,9}(\.\d{1,9})?$/.test(cell)) throw new FileError(`Line ${line}, ${column}: "${cell}" is no number.`);
    return Number(cell);
  };
  const answers = questions.flatMap(({ key }) => {
    const score = number(key);
    return score === null ? [] : [{ question: key, score }];
  });
  const customer = { source, externalId: id };
  const known = Object.entries(attributes).flatMap(([name, column]) => {
    const value = number(column);
    return value === null ? [] : [[name, value] as const];
  });
  return {
    line,
    id,
    customer: { kind: 'person', references: [customer], attributes: Object.fromEntries(known) },
    response: {
      submissionId: id,
      customer,
      answeredAt: new Date(beginning + Number(id) * minute).toISOString(),
      ...(answers.length === 0 ? { status: 'dismissed' } : { answers }),
    },
  };
}
