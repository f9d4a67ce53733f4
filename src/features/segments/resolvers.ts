import { field, type Resolvers } from '../../platform/graphql/field.ts';
import { getSegmentFields } from './vocabulary.ts';

export const segmentResolvers: Resolvers = {
  Query: {
    segmentFields: field(getSegmentFields, {
      example: '{ segmentFields { fields { name type operators personal } } }',
    }),
  },
};
