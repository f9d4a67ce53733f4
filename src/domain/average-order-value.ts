import { asGroup, type MetricGroup, type MetricResult, meanOf, metricResult, type Notice } from './metric-result.ts';

/** Qualifying orders of a group of customers in the period. */
export interface OrderSums {
  orders: number;
  /** Σ total − tax − refunds, minor units. Returns without an order do not count. */
  revenue: bigint;
  /** Distinct customers with an order in the period. */
  customers: number;
}

const noOrders: Notice = { code: 'no_orders', message: 'There is no qualifying order in the period.' };

/**
 * Average order value in minor units: revenue ÷ orders, over all orders and for two groups that share them out:
 * `returning` (customers with ≥ 2 qualifying orders by the period's end) and `one_time`; orders of nobody known are in neither. Each is revenue of
 * the group ÷ its orders, not a mean of customers' means. `values`: `returning, oneTime, orders, customers`; a group's
 * `values`: `orders, customers`. Null with reason `no_orders`, each group for itself.
 * @throws RangeError when a count is not a count
 */
export function averageOrderValue({
  returning,
  oneTime,
  anonymous = { orders: 0, revenue: 0n },
}: {
  returning: OrderSums;
  oneTime: OrderSums;
  anonymous?: Pick<OrderSums, 'orders' | 'revenue'>;
}): MetricResult {
  const orders = returning.orders + oneTime.orders + anonymous.orders;
  const { warnings, ...all } = meanOf(returning.revenue + oneTime.revenue + anonymous.revenue, orders, noOrders);
  const groups = [group('returning', returning), group('one_time', oneTime)];
  return metricResult({
    ...all,
    values: {
      returning: groups[0]?.value ?? null,
      oneTime: groups[1]?.value ?? null,
      orders,
      customers: returning.customers + oneTime.customers,
    },
    warnings,
    groups,
  });
}

function group(key: string, sums: OrderSums): MetricGroup {
  const values = { orders: sums.orders, customers: sums.customers };
  return asGroup(key, metricResult({ ...meanOf(sums.revenue, sums.orders, noOrders), values }));
}
