/** The lifecycle of a lead, in the order in which it is hoped for. */
export const leadStages = [
  'subscriber',
  'lead',
  'marketing_qualified',
  'sales_qualified',
  'customer',
  'former',
] as const;
export type LeadStage = (typeof leadStages)[number];

/**
 * Where a person may move a lead. Between the open stages it goes forwards, and one may have qualified too early; but
 * whoever has been addressed as a lead is not a mere subscriber again. A customer ends by leaving (`former`): that a
 * sale was none is for the rule `no_qualifying_order_left` to say. A former one may be taken up again at any stage that
 * is worked on.
 */
const transitions: Readonly<Record<LeadStage, readonly LeadStage[]>> = {
  subscriber: ['lead', 'marketing_qualified', 'sales_qualified', 'customer', 'former'],
  lead: ['marketing_qualified', 'sales_qualified', 'customer', 'former'],
  marketing_qualified: ['lead', 'sales_qualified', 'customer', 'former'],
  sales_qualified: ['lead', 'marketing_qualified', 'customer', 'former'],
  customer: ['former'],
  former: ['lead', 'marketing_qualified', 'sales_qualified', 'customer'],
};

/** The stages a person may move a lead to; its own is not among them. */
export function nextStages(from: LeadStage): readonly LeadStage[] {
  return transitions[from];
}

/**
 * Whether a lead that was moved from `left` to `now` had been in `stage` or further, and was taken back from there. One
 * that was lost and is taken up again begins anew.
 */
export function wasTakenBack(left: LeadStage, now: LeadStage, stage: LeadStage): boolean {
  const [was, is, then] = [left, now, stage].map((one) => leadStages.indexOf(one)) as [number, number, number]; // of three
  return left !== 'former' && is < was && then <= was;
}
