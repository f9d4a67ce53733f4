import type { ExclusionReason, MetricUnit } from './model.ts';

/**
 * What each metric is, beside the description and the parameters of its operation: read by every answer (`unit`, `version`) and by
 * the catalogue.
 */
export interface MetricDefinition {
  unit: MetricUnit;
  /** Rises when the same records give another number. */
  version: number;
  formula: string;
  /** What each of the values is. `lost*` stands for all that begin with it. */
  values: Readonly<Record<string, string>>;
  /** What the groups are when none are asked for; null: there are none. */
  groups: string | null;
  excluded: readonly ExclusionReason[];
  /** Who defines it so. */
  source: string;
}

const orders = ['test', 'cancelled', 'refunded', 'unpaid', 'zero_value', 'missing_rate'] as const;
const buyers = [...orders, 'anonymous'] as const;
const net = [...orders, 'returns_of_non_buyers', 'returns_of_earlier_buyers', 'returns_missing_rate'] as const;
const answers = ['dismissed', 'partial', 'late'] as const;

const practice = 'Common practice in retail.';
const silence = {
  customers: 'Customers who have bought by the end of the period.',
  silent: 'Those of them who have been silent for too long.',
};
const compared = {
  previousBuyers: 'Customers with an order in the previous period.',
  retained: 'Those of them with an order in the period.',
  lost: 'Those of them without one.',
};

export const metricDefinitions = {
  'retention-rate': {
    unit: 'ratio',
    version: 1,
    formula: 'retained ÷ previousBuyers',
    values: compared,
    groups: null,
    excluded: buyers,
    source: practice,
  },
  'repeat-purchase-rate': {
    unit: 'ratio',
    version: 1,
    formula: 'repeatBuyers ÷ buyers',
    values: {
      buyers: 'Customers with an order by the end of the period.',
      repeatBuyers: 'Those of them with at least `minOrders` orders.',
    },
    groups: null,
    excluded: buyers,
    source: practice,
  },
  'churn-rate': {
    unit: 'ratio',
    version: 1,
    formula: '`period`: lost ÷ previousBuyers. `silence`: silent ÷ customers. `gap`: silent ÷ customersWithGap',
    values: {
      ...compared,
      ...silence,
      customersWithGap: 'With `gap`: customers with two purchase days at least.',
      customersWithoutGap: 'With `gap`: customers with one, who are left out.',
      silenceDays: 'With `silence`: days after which a customer counts as silent.',
      gapFactor: 'With `gap`: so many times the mean gap of the customer.',
    },
    groups: null,
    excluded: buyers,
    source: practice,
  },
  'purchase-gaps': {
    unit: 'days',
    version: 1,
    formula: 'Σ days of gaps ÷ gaps',
    values: {
      mean: 'Mean of all gaps.',
      median: 'Median of all gaps.',
      p75: '75th percentile of all gaps.',
      p90: '90th percentile of all gaps.',
      customerMean: "Mean of the customers' own mean gaps.",
      customerMedian: 'Median of these.',
      gaps: 'How many gaps there are.',
      customers: 'Customers with a gap.',
      openGaps: 'Customers whose last purchase nothing has followed yet: these gaps are left out.',
    },
    groups: null,
    excluded: buyers,
    source: practice,
  },
  'average-order-value': {
    unit: 'money',
    version: 2,
    formula: 'revenue ÷ orders',
    values: {
      returning: 'Of customers with at least two orders by the end of the period.',
      oneTime: 'Of all other customers.',
      orders: 'Orders.',
      customers: 'Customers with one of them.',
    },
    groups: '`returning` and `one_time` customers.',
    excluded: [...orders, 'returns', 'returns_missing_rate'],
    source: practice,
  },
  'new-and-returning': {
    unit: 'ratio',
    version: 1,
    formula: 'returningBuyers ÷ buyers',
    values: {
      buyers: 'Customers with an order in the period.',
      newBuyers: 'Those whose first order is in the period.',
      returningBuyers: 'Those whose first order was before it.',
      revenue: 'Their net revenue.',
      newRevenue: 'Net revenue of new buyers.',
      returningRevenue: 'Net revenue of returning buyers.',
    },
    groups: '`new` and `returning` buyers.',
    excluded: [...net, 'anonymous'],
    source: practice,
  },
  'revenue-per-customer': {
    unit: 'money',
    version: 2,
    formula: '(revenue of orders − returns) ÷ buyers',
    values: { buyers: 'Customers with an order in the period.' },
    groups: null,
    excluded: net,
    source: practice,
  },
  'revenue-concentration': {
    unit: 'ratio',
    version: 1,
    formula: 'topRevenue ÷ revenue, of the first ⌈0.2 × customers⌉ by net revenue',
    values: {
      customers: 'Customers with an order in the period.',
      topCustomers: 'How many the first 20 % are.',
      topRevenue: 'Their net revenue.',
      revenue: 'Net revenue of all.',
      customersBringing80: 'The fewest customers that bring 80 % of it.',
      shareOfCustomersBringing80: 'Their share of the customers.',
      lossMakingCustomers: 'Customers with net revenue below 0.',
      lossMakingRevenue: 'Their net revenue; it is in the total.',
      contactTimeShareOfRest: 'Share of the seconds of interactions that went to customers outside the top.',
    },
    groups: '`top_1` to `top_50`: the share that so many per cent of the customers bring.',
    excluded: [...net, 'anonymous'],
    source: 'V. Pareto, Cours d’économie politique (1897); M. O. Lorenz (1905).',
  },
  rfm: {
    unit: 'count',
    version: 1,
    formula: 'Score of a customer: 1 + ⌊5 × customers strictly worse ÷ customers⌋',
    values: {
      'recency*': 'Customers with this score for the days since the last order.',
      'frequency*': 'Customers with this score for the number of orders.',
      'monetary*': 'Customers with this score for the net revenue.',
    },
    groups: 'Named segments of these scores; the value is their share of the customers.',
    excluded: [...net, 'anonymous'],
    source: 'A. M. Hughes, Strategic Database Marketing (1994); scores by rank, so that equals are equal.',
  },
  cohorts: {
    unit: 'ratio',
    version: 1,
    formula: 'customers of the cohort with an order in the interval ÷ customers of the cohort',
    values: {
      customers: 'Customers of all cohorts.',
      cohorts: 'Cohorts with a customer.',
      revenue: 'Net revenue.',
      intervalsSince: 'Of a point: intervals since the first order.',
      cumulativeRevenue: 'Of a point: net revenue up to there.',
      cumulativeRevenuePerCustomer: 'Of a point: the same per customer of the cohort.',
    },
    groups: 'A cohort each, with a series of the time since.',
    excluded: [...net, 'anonymous'],
    source: practice,
  },
  'lifetime-value': {
    unit: 'money',
    version: 2,
    formula:
      '`historic`: net revenue ÷ buyers. `simple`: (net revenue − acquisition cost − retention cost) ÷ buyers. `four_factor`: averageOrderValue × purchaseFrequency × lifetimeMonths × margin',
    values: {
      mean: 'With `historic`: mean net revenue of a buyer.',
      deviation: 'With `historic`: its standard deviation (n − 1).',
      min: 'With `historic`: the smallest.',
      max: 'With `historic`: the largest.',
      'p*': 'With `historic`: percentiles of the buyers, p5 to p99.',
      buyers: 'Customers with an order in the window.',
      revenuePerBuyer: 'With `simple`: net revenue ÷ buyers.',
      acquisitionCostPerBuyer: 'With `simple`; null: no cost is known.',
      retentionCostPerBuyer: 'With `simple`: as given.',
      buyersWithAcquisitionCost: 'With `simple`: buyers whose acquisition cost is known.',
      averageOrderValue: 'With `four_factor`: revenue ÷ orders.',
      purchaseFrequency: 'With `four_factor`: orders ÷ buyers ÷ months.',
      lifetimeMonths: 'With `four_factor`: by `lifetimeBasis`.',
      margin: 'With `four_factor`: from the costs of lines, or as given.',
      orders: 'With `four_factor`: orders of the window.',
      months: 'With `four_factor`: length of the window; a month is 30.4375 days.',
    },
    groups: null,
    excluded: [...net, 'returns', 'anonymous'],
    source: practice,
  },
  'lead-funnel': {
    unit: 'ratio',
    version: 1,
    formula: 'converted ÷ leads',
    values: {
      leads: 'Leads that entered in the period.',
      open: 'Those in a stage before `customer`.',
      converted: 'Those that became a customer.',
      lost: 'Those that are `former`.',
      lostCustomers: 'Those of the lost that had been customers.',
      'in*': 'Leads that are in this stage.',
      'lost*': 'Lost leads by reason.',
      underQualified: 'Open leads with too little of their profile filled in.',
      untouched: 'Open leads without an interaction in the last `silentDays` days.',
      neverTouched: 'Open leads without any.',
      underQualifiedShare: 'Of the open leads.',
      untouchedShare: 'Of the open leads.',
      neverTouchedShare: 'Of the open leads.',
      answered: 'Leads with a first response.',
      unanswered: 'Leads without one.',
      timeToFirstResponseMedianHours: 'Median hours from entering to the first response.',
      timeToFirstResponseP90Hours: 'Their 90th percentile.',
      'reached*': 'Leads that have been in this stage or a later one.',
      leadToMarketingQualified: 'Share of those that reached `lead` that reached `marketing_qualified`.',
      marketingQualifiedToSalesQualified: 'The share that went on from there.',
      salesQualifiedToCustomer: 'The share that became customers from there.',
      timeToConversionMedianDays: 'Median days from entering to becoming a customer.',
      completeness: 'The share of the profile that a lead needs, as asked.',
      silentDays: 'As asked.',
    },
    groups: null,
    excluded: [],
    source: 'Common practice in sales.',
  },
  'closed-loop': {
    unit: 'ratio',
    version: 1,
    formula: 'closedInTime ÷ (closed or overdue)',
    values: {
      opened: 'Follow-ups of detractors opened in the period.',
      closed: 'Those that are closed.',
      closedInTime: 'Those closed by their due date.',
      overdue: 'Open ones past their due date.',
      notYetDue: 'Open ones that are not due yet; in neither side of the ratio.',
      'outcome*': 'Closed ones by outcome.',
      answeredAgain: 'Closed ones whose customer answered again after that.',
      scoreBefore: 'Mean score of these before.',
      scoreAfter: 'Mean score of these after.',
      scoreChange: 'The difference.',
      npsBefore: 'Their Net Promoter Score before.',
      npsAfter: 'Their Net Promoter Score after.',
    },
    groups: null,
    excluded: ['cancelled'],
    source: 'F. Reichheld & R. Markey, The Ultimate Question 2.0 (2011).',
  },
  'loyalty-liability': {
    unit: 'money',
    version: 1,
    formula: 'outstanding points × value of a point',
    values: {
      outstandingPoints: 'Active and pending points.',
      activePoints: 'Points that can be spent.',
      pendingPoints: 'Points that cannot be spent yet.',
      debtPoints: 'Points that members owe.',
      breakageRate: 'Share of points past their expiry date that expired unused.',
      expectedBreakage: 'breakageRate × worth of the points that can expire.',
      netLiability: 'The value less expectedBreakage.',
    },
    groups: null,
    excluded: [],
    source: 'IFRS 15, B39 to B47.',
  },
  'net-promoter-score': {
    unit: 'points',
    version: 1,
    formula: '100 × (promoters − detractors) ÷ answers',
    values: {
      promoters: 'Answers of 9 and 10.',
      passives: 'Answers of 7 and 8.',
      detractors: 'Answers of 0 to 6.',
      promoterShare: 'Of all answers.',
      passiveShare: 'Of all answers.',
      detractorShare: 'Of all answers.',
    },
    groups: null,
    excluded: answers,
    source: 'F. Reichheld, The One Number You Need to Grow (2003).',
  },
  'customer-satisfaction': {
    unit: 'points',
    version: 1,
    formula: '100 × satisfied ÷ answers',
    values: { satisfied: 'Answers in the top box of the question.', answers: 'All answers.' },
    groups: null,
    excluded: answers,
    source: 'Common practice in service.',
  },
  'customer-effort': {
    unit: 'points',
    version: 1,
    formula: '100 × (easy − hard) ÷ answers',
    values: {
      easy: 'Answers on the easy side of the scale.',
      neutral: 'Answers in its middle.',
      hard: 'Answers on the hard side.',
      easyShare: 'Of all answers.',
      neutralShare: 'Of all answers.',
      hardShare: 'Of all answers.',
    },
    groups: null,
    excluded: answers,
    source: 'M. Dixon, K. Freeman & N. Toman, Stop Trying to Delight Your Customers (2010).',
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof metricDefinitions;
