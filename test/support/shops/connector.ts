/** What the connectors of shops share: a message of a shop becomes a request, and nothing is kept, so it may come twice. */

/** null: nothing follows from the message. */
export type Call = readonly [method: 'PUT' | 'POST' | 'DELETE', path: string, body?: object] | null;
export type Connector = (topic: string, payload: any) => Call;

export const minor = (amount: string | number, currency = 'EUR') =>
  Math.round(Number(amount) * (currency === 'JPY' ? 1 : 100));
export const sum = (list: any[], amount: (one: any) => string | number) =>
  list.reduce((all, one) => all + minor(amount(one)), 0);
export const at = (kind: string, source: string, id: string | number) => `/v1/${kind}/external/${source}/${id}`;
export const put = (path: string, ...parts: object[]): Call => ['PUT', path, Object.assign({}, ...parts)];
export const refund = (
  source: string,
  id: number,
  orderId: number,
  refundedAt: string | null,
  reason: string,
  amounts: object,
) =>
  put(
    at('refunds', source, id),
    { order: { source, externalId: `${orderId}` }, refundedAt, reason: reason || null },
    amounts,
  );
export const item = (externalId: number, sku: string, name: string, quantity: number, total: number, tax: number) => {
  return { externalId: `${externalId}`, sku, name, quantity, total, tax };
};
export const back = (line: number, quantity: number, total: number, tax: number) => {
  return { externalId: `${line}`, quantity, total, tax };
};
/** WooCommerce and Magento do not say that their instants are in UTC. */
export const utc = (instant: string | null) => instant && `${instant.replace(' ', 'T')}Z`;

export function person(source: string, c: any, phone: string | null, sourceVersion: string | null): Call {
  const identities = [{ kind: 'email', value: c.email }, ...(phone ? [{ kind: 'phone', value: phone }] : [])];
  const address = c.billing && { country: c.billing.country };
  return put(at('customers', source, c.id), {
    name: `${c.first_name} ${c.last_name}`,
    identities,
    address,
    sourceVersion,
  });
}
