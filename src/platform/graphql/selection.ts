import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';

/** A field of a document: what `info` says of it. */
export type Selection = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>;

interface Below {
  paths: ReadonlySet<string>;
  fields: ReadonlyMap<string, readonly FieldNode[]>;
}

const remembered = new WeakMap<FieldNode, Below>();
const deepest = 4;

/**
 * What is selected below a field, as dotted paths of field names (`nodes`, `nodes.items`, `totalCount`), through
 * fragments and whatever @include and @skip say.
 */
export function selectedPaths(selection: Selection): ReadonlySet<string> {
  return below(selection).paths;
}

/** The one field of the document at any of the paths; null where there is none, or more than one. */
export function onlyField(selection: Selection, paths: readonly string[]): FieldNode | null {
  const { fields } = below(selection);
  const found = new Set(paths.flatMap((path) => fields.get(path) ?? []));
  const [only] = found;
  return only && found.size === 1 ? only : null;
}

/** Worked out once per document: its nodes are the cache's. */
function below({ fieldNodes, fragments }: Selection): Below {
  const only = fieldNodes.length === 1 ? fieldNodes[0] : undefined;
  const known = only && remembered.get(only);
  if (known) return known;
  const fields = new Map<string, FieldNode[]>();
  const spread = new Set<string>();
  const visit = (set: SelectionSetNode | undefined, prefix: string, depth: number) => {
    for (const node of set?.selections ?? []) {
      if (node.kind === Kind.FIELD) {
        const path = `${prefix}${node.name.value}`;
        fields.set(path, [...(fields.get(path) ?? []), node]);
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
  const found = { paths: new Set(fields.keys()), fields };
  if (only) remembered.set(only, found);
  return found;
}
