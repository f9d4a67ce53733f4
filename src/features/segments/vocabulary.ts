import { z } from 'zod';
import { readOperation } from '../../platform/operation.ts';
import {
  type ConditionField,
  operators,
  operatorsOf,
  type Related,
  vocabulary,
} from '../../records/condition-fields.ts';
import './fields.ts';

/* What conditions may name, for who builds them. */

const fieldType = z
  .enum(['text', 'word', 'number', 'instant', 'date', 'boolean', 'id', 'texts', 'attributes'])
  .meta({ id: 'SegmentFieldType', description: 'What a field is compared with.', example: 'number' });
const operator = z.enum(operators).meta({
  id: 'SegmentOperator',
  description:
    'eq, in (a list of values), lt, lte, gt, gte; starts_with and contains ignore case (`contains` of a list of texts is an element of it); exists takes true or false. On a value that is not there, all but exists are false.',
  example: 'gte',
});

const segmentField = z
  .strictObject({
    name: z.string().meta({ example: 'orderCount' }),
    type: fieldType,
    operators: z.array(operator),
    open: z.boolean().meta({ description: 'Something of your own follows behind a dot: `attributes.color`.' }),
    values: z.array(z.string()).nullable().meta({ description: 'Of a word: those that there are.' }),
    personal: z.boolean().meta({ description: 'Whether it needs `customers:pii`.' }),
    scope: z.string().meta({ description: 'The scope that it needs.', example: 'orders:read' }),
    description: z.string().nullable(),
  })
  .meta({ id: 'SegmentField', description: 'A field that conditions may compare.' });

const related = {
  name: z.string().meta({ example: 'orders' }),
  scope: z.string().meta({ description: 'The scope that it needs.', example: 'orders:read' }),
  personal: z.boolean().meta({ description: 'Whether it needs `customers:pii`.' }),
  fields: z.array(segmentField),
};
const segmentPart = z
  .strictObject(related)
  .meta({ id: 'SegmentPart', description: 'Parts of a record, which conditions on it may ask for.' });
const segmentRelated = z.strictObject({ ...related, parts: z.array(segmentPart) }).meta({
  id: 'SegmentRelated',
  description: 'Records of a customer that conditions may ask for: `{"has": "orders", "where": …}`.',
});

export const segmentVocabulary = z
  .strictObject({ fields: z.array(segmentField), related: z.array(segmentRelated) })
  .meta({ id: 'SegmentVocabulary', description: 'What conditions on customers may name.' });

export const getSegmentFields = readOperation({
  name: 'getSegmentFields',
  scope: 'segments:read',
  partners: false,
  selfService: false,
  summary: 'What conditions may name',
  description:
    'Fields of customers, what is worked out of their orders, and records of theirs with fields of their own.',
  input: z.strictObject({}),
  output: segmentVocabulary,
  async run() {
    const { fields, related: kinds } = vocabulary();
    return {
      fields: describeAll(fields),
      related: [...kinds.values()].map((kind) => ({
        ...describeRelated(kind),
        parts: [...kind.parts.values()].map(describeRelated),
      })),
    };
  },
});

function describeRelated({ name, scope, personal, fields }: Related) {
  return { name, scope, personal, fields: describeAll(fields) };
}

function describeAll(fields: ReadonlyMap<string, ConditionField>) {
  return [...fields].map(([name, { type, operators: own, open, words, personal, scope, says }]) => ({
    name,
    type,
    operators: [...(own ?? operatorsOf[type])],
    open: open !== undefined,
    values: words ? [...words] : null,
    personal,
    scope,
    description: says ?? null,
  }));
}
