import { z } from 'zod';

/**
 * What a schema is called in GraphQL, which names every enum, object and scalar: for those without an `id` of their own,
 * and for those that have another name there.
 */
export const typeNames = z.registry<{ name: string }>();
