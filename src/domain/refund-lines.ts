/** How an item of a refund says which line of the order it means. */
export interface RefundItemName {
  externalId: string | null;
  /** Position among the order's items, from 0. */
  line: number | null;
  sku: string | null;
}

/**
 * The positions of the order's lines that a refund item may mean, in their order; none for an unknown item. The shop's id of a
 * line decides, then its position, then its sku, which several lines may have. What the order does not know is passed over.
 *
 * @param lines the lines of the order, by position
 */
export function linesOfItem(
  { externalId, line, sku }: RefundItemName,
  lines: readonly { externalId: string | null; sku: string | null }[],
): number[] {
  const positions = [...lines.keys()];
  const named = externalId === null ? [] : positions.filter((at) => lines[at]?.externalId === externalId);
  if (named.length > 0) return named;
  if (line !== null && line < lines.length) return [line];
  return sku === null ? [] : positions.filter((at) => lines[at]?.sku === sku);
}
