import { type Route, route } from '../platform/http/rest.ts';
import type { operationsOf } from './operations.ts';

type Operations = Partial<ReturnType<typeof operationsOf>>;

/** The addresses of a kind's operations, under the collection `url` (`/v1/returns`); those that are left out have none. */
export function recordRoutes(url: string, { list, create, batch, get, update, remove, upsert }: Operations): Route[] {
  const one = `${url}/:id`;
  const named = `${url}/external/:source/:externalId`;
  const byReference = get !== undefined && 'source' in get.input.shape;
  return [
    ...(list ? [route('GET', url, list)] : []),
    ...(create ? [route('POST', url, create)] : []),
    ...(batch ? [route('POST', `${url}/batch`, batch)] : []),
    ...(get ? [route('GET', one, get)] : []),
    ...(update ? [route('PATCH', one, update)] : []),
    ...(remove ? [route('DELETE', one, remove)] : []),
    ...(byReference
      ? [
          route('GET', named, get),
          ...(upsert ? [route('PUT', named, upsert)] : []),
          ...(update ? [route('PATCH', named, update)] : []),
          ...(remove ? [route('DELETE', named, remove)] : []),
        ]
      : []),
  ];
}
