import pg from 'pg';
import { z } from 'zod';
import { listPartnerFields } from '../../src/features/partners/fields.ts';
import { issueToken } from '../../src/platform/auth/issue-token.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { compare, type Shot } from './load.ts';
import { connections, type Line, line, type Stand, sample } from './stand.ts';

/**
 * What a scoped token costs: the same requests by a partner with half of the customers and by the organisation's own, of
 * records that both see. The floor is the service itself.
 */
export async function partner(stand: Stand): Promise<Line[]> {
  const id = await shareHalf(stand);
  const { signing } = await openKeys(stand.config);
  if (signing === null) throw new Error('The bench signs its own tokens.');
  const token = issueToken(stand.config, signing, { scope: '*', client: 'bench', ttl: 7200, partner: id });
  const shared = `partner_customers s where s.partner_id = '${id}'`;
  const customers = await sample(stand, `select customer_id from ${shared} order by random() limit 2000`);
  const orders = await sample(
    stand,
    `select o.id from (select customer_id from ${shared} order by random() limit 2000) s
       join lateral (select id from orders o where o.customer_id = s.customer_id limit 1) o on true`,
  );
  const instants = await sample(
    stand,
    `select to_char(placed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') from orders order by random() limit 500`,
  );
  const get = (path: string): Shot => ({ method: 'GET', path });
  const measures: [string, Shot[]][] = [
    ['customer by id, as a partner', customers.map((one) => get(`/v1/customers/${one}`))],
    ['order by id, as a partner', orders.map((one) => get(`/v1/orders/${one}`))],
    ['page of 50 orders, as a partner', instants.map((at) => get(`/v1/orders?limit=50&placedTo=${at}`))],
  ];
  const servers = { service: stand.service, floor: { ...stand.service, name: 'floor' as const } };
  const lines: Line[] = [];
  for (const [name, shots] of measures) {
    const result = await compare(servers, token, { shots, floorToken: stand.token, connections }, stand.effort);
    lines.push(line(name, result, 0.85));
  }
  return lines;
}

/** Half of the customers of the store, shared with a partner who may see every member of a document. */
async function shareHalf({ service, token, connection }: Stand): Promise<string> {
  const asked = async (path: string, body?: object) => {
    const answer = await fetch(service.origin + path, {
      method: body ? 'POST' : 'GET',
      headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { fields: known } = listPartnerFields.output.parse(await asked('/v1/partner-fields'));
  const { id } = z
    .object({ id: z.string() })
    .parse(await asked('/v1/partners', { name: 'Bench', fields: known.map(({ name }) => name) }));
  const client = new pg.Client(connection);
  await client.connect();
  await client.query(
    'insert into partner_customers select $1, id, true from customers where get_byte(uuid_send(id), 15) < 128',
    [id],
  );
  await client.query('vacuum analyze partner_customers');
  await client.end();
  return id;
}
