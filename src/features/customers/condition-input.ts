import { z } from 'zod';
import { isStorableJson } from '../../platform/values.ts';
import { limits } from '../../records/conditions.ts';

/** A tree of conditions as clients send it; what is in it is checked by `readCondition`, which says where a fault is. */
export const conditionInput = z
  .record(z.string(), z.unknown())
  .refine((value) => isStorableJson(value), {
    error: 'is nested deeper than 64 levels, or has NUL characters, lone surrogates or numbers beyond 2^53 − 1',
    params: { code: 'invalid_json' },
  })
  .meta({
    description: `A tree of conditions on customers: \`{"and": […]}\`, \`{"or": […]}\`, \`{"not": …}\`, \`{"field": "orderCount", "op": "gte", "value": 3}\`, \`{"has": "orders", "where": …, "count": {"atLeast": 2}}\` for records of the customer that have conditions of their own (also \`sum\` and \`nth\`), and \`{"segment": "<id>"}\` (with \`asOf\`: who was in it then). Instants and dates may be relative: \`{"daysAgo": 90}\`. GET /v1/segments/fields lists all fields, with what each takes and needs. At most ${limits.depth} levels, ${limits.width} conditions side by side, ${limits.leaves} fields and ${limits.values} values in a list.`,
    example: {
      and: [
        { field: 'orderCount', op: 'gte', value: 3 },
        { field: 'daysSinceLastOrder', op: 'gt', value: 90 },
        { not: { has: 'interactions', where: { field: 'occurredAt', op: 'gte', value: { daysAgo: 30 } } } },
      ],
    },
  });
