import {
  add,
  atLeastNothing,
  decimalFraction,
  divide,
  type Fraction,
  fraction,
  isPositive,
  least,
  magnitude,
  multiply,
  nothing,
  one,
  subtract,
  total,
  whole,
} from './fraction.ts';
import { divideRounded } from './money.ts';
import { isBefore } from './period.ts';
import { linesOfItem, type RefundItemName } from './refund-lines.ts';
import { netsOfRefunds } from './refund-tax.ts';

/*
 * What is left of the goods of orders, after negative lines, refunds and returns that name no order: points follow it.
 * Amounts are minor units of the order's currency; what is left is exact, and rounded nowhere.
 */

export interface GoodsLine {
  externalId: string | null;
  sku: string | null;
  category: string | null;
  /** A decimal. */
  quantity: number | string;
  /** After line discounts; may be 0 or negative. */
  total: number;
}

/** Goods that came back. */
export interface GoodsItem extends RefundItemName {
  quantity: number | string;
  /** null: what so many of the line cost. */
  total: number | null;
}

export interface GoodsRefund {
  /** With tax. */
  amount: number;
  tax: number | null;
  shipping: number | null;
  items: readonly GoodsItem[];
}

export interface GoodsOrder {
  total: number;
  tax: number;
  /** Whether the totals of the lines include it. */
  taxIncluded: boolean;
  shipping: number;
  fees: number;
  items: readonly GoodsLine[];
  /** In the order in which they count. */
  refunds: readonly GoodsRefund[];
}

/** What is left of an order: net of tax. */
export interface LeftOfOrder {
  /** Its revenue: total − tax − refunds and returns without theirs, ≥ 0. */
  revenue: number;
  /** What of the revenue is for goods, shipping and fees that were not given back. */
  goods: Fraction;
  shipping: Fraction;
  fees: Fraction;
  /** By line, as they are priced: before refunds and returns, and what is left. Negative lines are 0. */
  first: readonly Fraction[];
  left: readonly Fraction[];
}

/** The goods of an order, and how they go back. */
export class OrderGoods {
  readonly order: GoodsOrder;
  readonly #first: readonly Fraction[];
  readonly #left: Fraction[];
  /** What the goods cost per unit of the prices of their lines: less than 1 where the order had a discount. */
  readonly #perPrice: Fraction;
  #total: number;
  #tax: number;
  #shipping: Fraction;
  /** Net worth of goods that went back for less money than they cost. */
  #forgone = nothing;

  constructor(order: GoodsOrder) {
    this.order = order;
    this.#left = linesAfterNegative(order.items);
    this.#first = [...this.#left];
    const prices = total(this.#first);
    const { shipping, fees, tax, taxIncluded } = order;
    const cost = Math.max(0, order.total - shipping - fees - (taxIncluded ? 0 : tax));
    this.#perPrice = isPositive(prices) ? divide(fraction(cost), prices) : nothing;
    this.#total = order.total;
    this.#tax = order.tax;
    this.#shipping = fraction(shipping);
    for (const refund of order.refunds) {
      const taken = total(refund.items.map((item) => this.takeItem(item, one).taken));
      this.giveBack(refund, taken);
    }
  }

  /**
   * Takes an item from the lines it means, each as far as it goes. Its goods are its total, else so many of the line.
   * @param share how much of the item is still looked for
   * @returns what the goods cost by the prices of the lines, and the share of the item that was not found
   */
  takeItem(item: GoodsItem, share: Fraction): { taken: Fraction; share: Fraction } {
    const { items } = this.order;
    let taken = nothing;
    let rest = share;
    for (const at of linesOfItem(item, items)) {
      const line = items[at];
      const left = this.#left[at];
      if (!line || !left || !isPositive(rest)) continue;
      const goods = goodsOf(item, line);
      if (!isPositive(goods)) continue;
      const part = least(multiply(goods, rest), left);
      this.#left[at] = subtract(left, part);
      taken = add(taken, part);
      rest = subtract(rest, divide(part, goods));
    }
    return { taken, share: rest };
  }

  /**
   * Money goes back for goods that were taken already: what it is beyond their cost is the stated shipping, and then a
   * share of all remaining lines.
   */
  giveBack({ amount, tax, shipping }: Pick<GoodsRefund, 'amount' | 'tax' | 'shipping'>, taken: Fraction): void {
    const [counted] = netsOfRefunds({ total: this.#total, tax: this.#tax }, [{ amount, tax }]);
    const net = counted?.net ?? 0;
    this.#total -= amount;
    this.#tax -= amount - net;
    // What can be compared with the prices of the lines.
    const money = fraction(this.order.taxIncluded ? amount : net);
    const cost = multiply(taken, this.#perPrice);
    // Whole units: a fraction of one is how the shop rounds.
    const forgone = whole(atLeastNothing(subtract(cost, money)));
    if (forgone > 0n) this.#forgone = add(this.#forgone, this.#net(fraction(forgone)));
    let rest = atLeastNothing(subtract(money, cost));
    const ofShipping = least(least(rest, fraction(shipping ?? 0)), this.#shipping);
    this.#shipping = subtract(this.#shipping, ofShipping);
    rest = subtract(rest, ofShipping);
    if (!isPositive(rest)) return;
    const price = isPositive(this.#perPrice) ? divide(rest, this.#perPrice) : total(this.#left);
    spread(this.#left, price);
  }

  /** What goods of this price cost, with tax, whole units. */
  costOf(price: Fraction): number {
    const { numerator, denominator } = this.#withTax(multiply(price, this.#perPrice));
    return Number(divideRounded(numerator, denominator));
  }

  /** What was paid and not given back, with tax; and how much of it, at most, for goods. */
  paid(): { total: number; goods: number } {
    const { shipping, fees } = this.order;
    const goods = isPositive(total(this.#first))
      ? whole(this.#withTax(multiply(total(this.#left), this.#perPrice)))
      : BigInt(Math.max(0, this.#total - shipping - fees));
    return { total: this.#total, goods: Number(goods) };
  }

  leftOver(): LeftOfOrder {
    const revenue = this.#total - this.#tax;
    const worth = atLeastNothing(subtract(fraction(revenue), this.#forgone));
    const shipping = least(worth, this.#net(this.#shipping));
    const fees = least(subtract(worth, shipping), this.#net(fraction(this.order.fees)));
    const goods = subtract(subtract(worth, shipping), fees);
    return { revenue, goods, shipping, fees, first: this.#first, left: this.#left };
  }

  /** Of an amount as the lines are priced. */
  #net(amount: Fraction): Fraction {
    const { total: all, tax, taxIncluded } = this.order;
    return taxIncluded && all > 0 ? multiply(amount, fraction(all - tax, all)) : amount;
  }

  #withTax(amount: Fraction): Fraction {
    const { total: all, tax, taxIncluded } = this.order;
    return taxIncluded || all === tax ? amount : multiply(amount, fraction(all, all - tax));
  }
}

/** A negative line takes from those of its sku, then from those of its category, and then from all of them. */
function linesAfterNegative(lines: readonly GoodsLine[]): Fraction[] {
  const left = lines.map((line) => fraction(Math.max(0, line.total)));
  for (const line of lines) {
    if (line.total >= 0) continue;
    let missing = fraction(-line.total);
    const isAlike = [
      (other: GoodsLine) => line.sku !== null && other.sku === line.sku,
      (other: GoodsLine) => line.category !== null && other.category === line.category,
    ];
    for (const alike of isAlike) {
      for (const [at, other] of lines.entries()) {
        const has = left[at];
        if (!has || !alike(other)) continue;
        const part = least(has, missing);
        left[at] = subtract(has, part);
        missing = subtract(missing, part);
      }
    }
    spread(left, missing);
  }
  return left;
}

/** Takes this price from all lines, each its share. */
function spread(left: Fraction[], price: Fraction): void {
  const has = total(left);
  if (!isPositive(has)) return;
  const kept = divide(atLeastNothing(subtract(has, price)), has);
  for (const [at, line] of left.entries()) left[at] = multiply(line, kept);
}

/** What the goods of an item cost by the price of this line. */
function goodsOf(item: GoodsItem, line: GoodsLine): Fraction {
  if (item.total !== null) return fraction(item.total);
  const sold = magnitude(decimalFraction(line.quantity));
  if (!isPositive(sold)) return nothing;
  // Some shops send what came back with a minus.
  return divide(multiply(fraction(line.total), magnitude(decimalFraction(item.quantity))), sold);
}

/** An order from which a return may take. */
interface ReturnableOrder {
  placedAt: string;
  currency: string;
  qualifying: boolean;
  goods: OrderGoods;
}

/** Goods that came back, of no order in particular. */
export interface GoodsReturn {
  returnedAt: string;
  currency: string;
  /** With tax. */
  total: number;
  items: readonly GoodsItem[];
}

/**
 * Takes returns, in this order, from the orders of their customer that were placed by then in the same currency, the latest
 * first: their items from lines of the same name or sku, and what is left of their total from whatever goods there are.
 * @param orders as they were placed
 */
function takeReturns(orders: readonly ReturnableOrder[], returns: readonly GoodsReturn[]): void {
  for (const back of returns) {
    const parts = orders
      .filter(
        ({ placedAt, currency, qualifying }) =>
          qualifying && currency === back.currency && !isBefore(back.returnedAt, placedAt),
      )
      .map(({ goods }) => ({ goods, amount: 0, taken: nothing }))
      .reverse();
    for (const item of back.items) {
      let share = one;
      for (const part of parts) {
        // The position of a line is of no use without its order.
        const done = part.goods.takeItem({ ...item, line: null }, share);
        share = done.share;
        part.taken = add(part.taken, done.taken);
      }
    }
    let rest = back.total;
    for (const part of parts) {
      part.amount = Math.min(rest, part.goods.paid().total, part.goods.costOf(part.taken));
      rest -= part.amount;
    }
    for (const part of parts) {
      const { total: paid, goods } = part.goods.paid();
      const more = Math.max(0, Math.min(rest, goods, paid - part.amount));
      part.amount += more;
      rest -= more;
    }
    for (const { goods, amount, taken } of parts) {
      if (amount > 0 || isPositive(taken)) goods.giveBack({ amount, tax: null, shipping: null }, taken);
    }
  }
}

/** What is left of the goods of a customer's orders, as they were placed, after these returns, in the order in which they count. */
export function goodsLeft<Order extends GoodsOrder & Omit<ReturnableOrder, 'goods'>>(
  orders: readonly Order[],
  returns: readonly GoodsReturn[],
): { order: Order; goods: OrderGoods }[] {
  const left = orders.map((order) => ({ ...order, order, goods: new OrderGoods(order) }));
  takeReturns(left, returns);
  return left;
}

/** The mean of the multipliers of lines, weighted by what they are worth; null: they are worth nothing. */
export function meanOf(lines: readonly Fraction[], multiplierOf: (at: number) => Fraction): Fraction | null {
  const weights = total(lines);
  if (!isPositive(weights)) return null;
  return divide(
    total(lines.map((line, at) => (isPositive(line) ? multiply(line, multiplierOf(at)) : nothing))),
    weights,
  );
}
