import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';

/** A field of a document: what `info` says of it. */
export type Selection = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>;

const remembered = new WeakMap<FieldNode, ReadonlySet<string>>();
const deepest = 4;

/**
 * What is selected below a field, as dotted paths of field names (`nodes`, `nodes.items`, `totalCount`), through
 * fragments and whatever @include and @skip say. Worked out once per document: its nodes are the cache's.
 */
export function selectedPaths({ fieldNodes, fragments }: Selection): ReadonlySet<string> {
  const only = fieldNodes.length === 1 ? fieldNodes[0] : undefined;
  const known = only && remembered.get(only);
  if (known) return known;
  const paths = new Set<string>();
  const spread = new Set<string>();
  const visit = (set: SelectionSetNode | undefined, prefix: string, depth: number) => {
    for (const node of set?.selections ?? []) {
      if (node.kind === Kind.FIELD) {
        const path = `${prefix}${node.name.value}`;
        paths.add(path);
        if (depth < deepest) visit(node.selectionSet, `${path}.`, depth + 1);
      } else if (node.kind === Kind.INLINE_FRAGMENT) {
        visit(node.selectionSet, prefix, depth);
      } else if (!spread.has(`${prefix}${node.name.value}`)) {
        // Fragments that spread each other twice would double the work with every step.
        spread.add(`${prefix}${node.name.value}`);
        visit(fragments[node.name.value]?.selectionSet, prefix, depth);
      }
    }
  };
  for (const node of fieldNodes) visit(node.selectionSet, '', 1);
  if (only) remembered.set(only, paths);
  return paths;
}
