import { graphqlQuery, graphqlQueryById } from './floor-statements.ts';
import { type Measure, rate } from './measure.ts';
import { utc } from './reads.ts';
import { ask, postJson, type Shot, type Stand, sample } from './stand.ts';

const ours = (query: string, variables: object) => postJson('/graphql', { query, variables });

/** The peer lists by key: its cursors cannot be made by others, so it says where lists begin. */
const peersPlaces = (offset: number) =>
  `{ allCustomers(first: 500, offset: ${offset}, orderBy: [PRIMARY_KEY_DESC]) { edges { cursor node { createdAt } } } }`;
const peersNested = `query ($after: Cursor) {
  allCustomers(first: 20, after: $after, orderBy: [PRIMARY_KEY_DESC]) {
    nodes {
      rowId name createdAt
      customerIdentitiesByCustomerId(condition: { kind: "email" }) { nodes { value isPrimary } }
      ordersByCustomerId(first: 5, orderBy: [PLACED_AT_DESC]) { nodes { rowId placedAt currency total status } }
    }
  }
}`;
const peersById = `query ($id: UUID!) { customerByRowId(rowId: $id) { rowId kind name givenName familyName createdAt updatedAt } }`;

/** Lists that begin anywhere. */
export async function graphqlShots(stand: Stand): Promise<Shot[]> {
  const instants = await sample(stand, `select ${utc('created_at')} from customers order by random() limit 500`);
  return instants.map((before) => ours(graphqlQuery, { before }));
}

const someCustomers = (stand: Stand) => sample(stand, 'select id from customers order by random() limit 2000');

export const graphql: Measure[] = [
  rate({
    name: 'nested',
    title: 'GraphQL 20 customers × 5 orders, with e-mail',
    mark: { atLeast: 0.8, ofPeer: 2 },
    shots: graphqlShots,
    async withPeer({ store }, peer) {
      const query = peersPlaces(Math.floor(store.customers / 2));
      const { data } = await ask(peer, postJson('/graphql', { query }));
      const edges: { cursor: string; node: { createdAt: string } }[] = data.allCustomers.edges;
      return {
        shots: edges.map(({ node }) => ours(graphqlQuery, { before: new Date(node.createdAt).toISOString() })),
        peerShots: edges.map(({ cursor }) => ours(peersNested, { after: cursor })),
      };
    },
  }),
  rate({
    name: 'graphql-by-id',
    title: 'GraphQL customer by id',
    mark: { ofPeer: 2 },
    shots: async (stand) => (await someCustomers(stand)).map((id) => ours(graphqlQueryById, { id })),
    async withPeer(stand) {
      const ids = await someCustomers(stand);
      return {
        shots: ids.map((id) => ours(graphqlQueryById, { id })),
        peerShots: ids.map((id) => ours(peersById, { id })),
      };
    },
  }),
];
