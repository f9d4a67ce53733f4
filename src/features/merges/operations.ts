import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { notFound } from '../../platform/errors.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { expectedVersion } from '../../platform/versions.ts';
import { answered } from '../../records/table.ts';
import { customerById } from '../customers/queries.ts';
import {
  type CustomerMerge,
  customerMerge,
  customerMerges,
  mergedProblem,
  mergeInput,
  mergePreview,
  mergeRefused,
  mergeResult,
  unmergeInput,
  unmergeResult,
} from './record.ts';
import { mergeCustomers, previewMerge, unmergeCustomers } from './write.ts';

export const previewCustomerMerge = readOperation({
  name: 'previewCustomerMerge',
  scope: 'customers:merge',
  partners: false,
  selfService: false,
  summary: 'Preview a merge',
  description:
    'Which values win and why, what moves, and what stands against it. Nothing is written; the versions it tells make sure of what was seen.',
  input: z.strictObject({ id, body: mergeInput }),
  output: mergePreview,
  problems: ['not_found', mergedProblem],
  run: (context, { id: survivorId, body }) => previewMerge(context, { ...body, survivorId }),
});

export const mergeCustomer = writeOperation({
  name: 'mergeCustomer',
  scope: 'customers:merge',
  partners: false,
  selfService: false,
  summary: 'Merge another record of the same person into a customer',
  description:
    'The customer in the path survives. Everything of the other customer moves to it in one transaction: identities, references, orders, returns, interactions, points, survey responses, consents and the history of the lead. The survivor keeps its values, and the other fills the gaps; list a member in `take` to use the value of the other. The id of the other becomes an alias: paths with it answer 301 or 308, and bodies and filters with it mean the survivor. All metrics of orders, returns, refunds, interactions and survey responses are then those of one customer; points, tiers and bonuses stay as each customer earned them. `version` and `updatedAt` rise on everything that moves or names the other. `unmerge` undoes the merge.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion: expectedVersion.optional(), body: mergeInput }),
  output: mergeResult,
  idempotency: 'accepted',
  problems: ['not_found', mergedProblem, mergeRefused, 'version_mismatch'],
  run: (tx, context, { id: survivorId, expectedVersion: survivorVersion, body }) =>
    mergeCustomers(tx, context, { ...body, survivorId, survivorVersion }),
});

export const unmergeCustomer = writeOperation({
  name: 'unmergeCustomer',
  scope: 'customers:merge',
  partners: false,
  selfService: false,
  summary: 'Undo a merge',
  description:
    'The records that the merge moved go back to the customer they came from, with their parts, such as refunds of orders. Records made since the merge stay with the survivor and are listed under `kept`; if there are none, both customers are exactly as they were, but for `version` and `updatedAt`, which rise on everything that goes back. Undo the merges of a customer in reverse order, the latest first.',
  input: z.strictObject({ id, ...writeParameters, body: unmergeInput }),
  output: unmergeResult,
  idempotency: 'accepted',
  problems: ['not_found', 'already_undone', 'not_undoable'],
  run: (tx, context, { id: survivorId, body: { mergeId } }) => unmergeCustomers(tx, context, { survivorId, mergeId }),
});

const list = keysetList<CustomerMerge>({
  name: 'customer_merges',
  select: answered(customerMerges),
  from: sql`${customerMerges}`,
  id: sql`${customerMerges.id}`,
  filters: { id: (value) => sql`${customerMerges.customerId} = ${value}::uuid` },
  sorts: { at: { expression: sql`${customerMerges.at}`, type: 'timestamptz', field: 'at' } },
  defaultSort: '-at',
});

export const listCustomerMerges = readOperation({
  name: 'listCustomerMerges',
  scope: 'customers:read',
  partners: false,
  selfService: false,
  summary: 'List the merges of a customer',
  description: 'The latest first, with those of customers that were merged into it, and those that were undone.',
  input: z.strictObject({ id, ...pageParameters }),
  output: pageOf(customerMerge).meta({ id: 'CustomerMergePage' }),
  problems: ['not_found'],
  async run(context, input) {
    const found = await list(context.db, context, input);
    if (found.data.length === 0 && !(await customerById(context.db, input.id))) throw notFound('customer');
    return found;
  },
});
