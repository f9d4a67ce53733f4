import { route } from '../../platform/http/rest.ts';
import { dismissCustomerDuplicate, listCustomerDuplicates } from './duplicates.ts';
import { listCustomerMerges, mergeCustomer, previewCustomerMerge, unmergeCustomer } from './operations.ts';

export const mergeRoutes = [
  route('GET', '/v1/customers/duplicates', listCustomerDuplicates),
  route('POST', '/v1/customers/duplicates/dismiss', dismissCustomerDuplicate),
  route('GET', '/v1/customers/:id/merges', listCustomerMerges),
  route('POST', '/v1/customers/:id/merge', mergeCustomer),
  route('POST', '/v1/customers/:id/merge/preview', previewCustomerMerge),
  route('POST', '/v1/customers/:id/unmerge', unmergeCustomer),
];
