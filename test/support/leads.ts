/** The lifecycle of leads, as tests know it. */

export const stages = ['subscriber', 'lead', 'marketing_qualified', 'sales_qualified', 'customer', 'former'] as const;
export type Stage = (typeof stages)[number];

/** Written down once more, from the issue and not from the code. */
export const legal: Record<Stage, readonly Stage[]> = {
  subscriber: ['lead', 'marketing_qualified', 'sales_qualified', 'customer', 'former'],
  lead: ['marketing_qualified', 'sales_qualified', 'customer', 'former'],
  marketing_qualified: ['lead', 'sales_qualified', 'customer', 'former'],
  sales_qualified: ['lead', 'marketing_qualified', 'customer', 'former'],
  customer: ['former'],
  former: ['lead', 'marketing_qualified', 'sales_qualified', 'customer'],
};
