import { z } from 'zod';
import { readOperation } from '../../platform/operation.ts';
import { type MetricDefinition, metricDefinitions } from './definitions.ts';
import { knownMetrics } from './group-size.ts';
import { exclusionReason, exclusionReasons, metricUnit } from './model.ts';

/** The catalogue: what each metric means, takes and answers. */

const parameter = z
  .strictObject({
    name: z.string().meta({ example: 'minOrders' }),
    description: z.string(),
    type: z.enum(['text', 'number', 'boolean', 'list']),
    options: z.array(z.string()).nullable().meta({ description: 'The words it takes; null: it takes others.' }),
    default: z.string().nullable().meta({ description: 'In words; null: nothing.', example: '2' }),
  })
  .meta({ id: 'MetricParameter' });

const named = z
  .strictObject({ name: z.string(), description: z.string() })
  .meta({ id: 'MetricValue', description: 'A name that ends in `*` stands for all that begin so.' });

const reason = z.strictObject({ reason: exclusionReason, description: z.string() }).meta({ id: 'MetricExclusion' });

const metricDescription = z
  .strictObject({
    metric: z.string().meta({ description: 'Its name in the address.', example: 'retention-rate' }),
    definition: z.string().meta({ description: 'With its version, as answers have it.', example: 'retention-rate@1' }),
    version: z.int().meta({ description: 'Rises when the same records give another number.' }),
    title: z.string(),
    description: z.string().meta({ description: 'The definition in words; Markdown.' }),
    formula: z.string().meta({ example: 'retained ÷ previousBuyers' }),
    unit: metricUnit,
    parameters: z.array(parameter),
    values: z.array(named).meta({ description: 'What `values` of the answer has.' }),
    groups: z
      .string()
      .nullable()
      .meta({ description: 'What `groups` are when you ask for none; null: there are none.' }),
    excluded: z.array(reason).meta({ description: 'Why records may be left out.' }),
    source: z.string().meta({ description: 'Who defines it so.' }),
  })
  .meta({ id: 'MetricDescription', description: 'What a metric means, takes and answers.' });

export const listMetrics = readOperation({
  name: 'listMetrics',
  scope: 'metrics:read',
  partners: false,
  selfService: false,
  summary: 'List the metrics',
  description:
    'The catalogue: of each metric its definition in words, formula, unit, parameters with their defaults, values and the reasons why records are left out. The `definition` in an answer is one of these.',
  input: z.strictObject({}),
  output: z.strictObject({ data: z.array(metricDescription) }).meta({ id: 'MetricDescriptions' }),
  run: async () => ({
    data: [...knownMetrics()].map(([metric, { summary, description = '', input }]) => {
      const { version, unit, formula, values, groups, excluded, source }: MetricDefinition = metricDefinitions[metric];
      return {
        metric,
        definition: `${metric}@${version}`,
        version,
        title: summary,
        description,
        formula,
        unit,
        parameters: Object.entries(input.shape).map(([name, schema]) => parameterOf(name, schema)),
        values: Object.entries(values).map(([name, says]) => ({ name, description: says })),
        groups,
        excluded: excluded.map((one) => ({ reason: one, description: exclusionReasons[one] })),
        source,
      };
    }),
  }),
});

function parameterOf(name: string, schema: z.core.$ZodType): z.output<typeof parameter> {
  const { type, enum: options, description = '' } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return {
    name,
    description,
    type:
      type === 'boolean'
        ? type
        : type === 'integer' || type === 'number'
          ? 'number'
          : type === 'array'
            ? 'list'
            : 'text',
    options: options ? options.map(String) : null,
    // Descriptions say it in one way: a test holds that.
    default: /Default: (?:the )?(.+?)\.(?:\s|$)/.exec(description)?.[1]?.replaceAll('`', '') ?? null,
  };
}
