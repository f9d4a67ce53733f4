import { type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';

const remembered = new WeakMap<object, ReadonlySet<string>>();

/**
 * What is selected below a field, as dotted paths of field names (`nodes`, `nodes.items`, `totalCount`), through
 * fragments and whatever @include and @skip say. Worked out once per document: its nodes are the cache's.
 */
export function selectedPaths(info: Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>): ReadonlySet<string> {
  const [only, ...more] = info.fieldNodes;
  const known = only && more.length === 0 ? remembered.get(only) : undefined;
  if (known) return known;
  const paths = new Set<string>();
  const visit = (set: SelectionSetNode | undefined, prefix: string, depth: number) => {
    if (depth > 3) return;
    for (const node of set?.selections ?? []) {
      if (node.kind === Kind.FIELD) {
        const path = `${prefix}${node.name.value}`;
        paths.add(path);
        visit(node.selectionSet, `${path}.`, depth + 1);
      } else {
        const fragment = node.kind === Kind.FRAGMENT_SPREAD ? info.fragments[node.name.value] : node;
        visit(fragment?.selectionSet, prefix, depth);
      }
    }
  };
  for (const node of info.fieldNodes) visit(node.selectionSet, '', 0);
  if (only && more.length === 0) remembered.set(only, paths);
  return paths;
}
