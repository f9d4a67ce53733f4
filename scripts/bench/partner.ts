import { compete, type Lane } from './compete.ts';
import { line, type Measure } from './measure.ts';
import { customersById, pagesOfOrders, pagesOfTimelines } from './reads.ts';
import { ask, firing, get, postJson, type Shot, type Stand, type Version, withClient } from './stand.ts';

/**
 * What a scoped token costs: the same requests by a partner with half of the customers and by the organisation's own, of
 * records that both see. The floor is the service itself.
 */
function asPartner(name: string, title: string, shots: (stand: Stand) => Promise<Shot[]>): Measure {
  return {
    name: `partner-${name}`,
    async run(stand) {
      const lanes: Lane[] = [];
      for (const version of stand.versions) {
        const base = version.name === 'old' ? 'old floor' : 'floor';
        const partner = await partnerOf(version);
        const asked = await shots(stand);
        lanes.push(firing(version, asked, stand.effort, { name: base }));
        lanes.push(firing({ ...version, token: partner }, asked, stand.effort, { against: base }));
      }
      const figures = await compete(lanes, stand.effort);
      return [
        line(title, '/s', figures, { atLeast: 0.9 }, { notes: ['the floor is the service, not asked as a partner'] }),
      ];
    },
  };
}

const tokens = new Map<string, string>();

/** A token of a partner whom half of the customers are shared with, and who may see every member of a document. */
async function partnerOf(version: Version): Promise<string> {
  const known = tokens.get(version.token);
  if (known !== undefined) return known;
  const { fields } = await ask(version, get('/v1/partner-fields'));
  const names = fields.map((field: { name: string }) => field.name);
  const { id } = await ask(version, postJson('/v1/partners', { name: 'Bench', fields: names }));
  await withClient(version, async (client) => {
    await client.query(`insert into partner_customers select $1, id, true from customers where ${isShared('id')}`, [
      id,
    ]);
    await client.query('vacuum analyze partner_customers');
  });
  const token = await version.issueToken(['--partner', id]);
  tokens.set(version.token, token);
  return token;
}

const isShared = (id: string) => `get_byte(uuid_send(${id}), 15) < 128`;

export const partner: Measure[] = [
  asPartner('customer', 'customer by id, as a partner', (stand) =>
    customersById(stand, `customers where ${isShared('id')}`),
  ),
  asPartner('page', 'page of 50 orders, as a partner', pagesOfOrders),
  asPartner('timeline', 'timeline page of 50, as a partner', (stand) =>
    pagesOfTimelines(stand, `interactions where ${isShared('customer_id')}`),
  ),
];
