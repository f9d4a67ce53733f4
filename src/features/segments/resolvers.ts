import { connection, field, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  addSegmentMembers,
  createSegment,
  deleteSegment,
  getSegment,
  listSegmentChanges,
  listSegmentMembers,
  listSegments,
  listSegmentVersions,
  previewSegment,
  removeSegmentMember,
  updateSegment,
} from './operations.ts';
import { getSegmentFields } from './vocabulary.ts';

export const segmentResolvers: Resolvers = {
  Query: {
    segment: record(getSegment),
    segments: connection(listSegments, { example: '{ segments(first: 20) { nodes { id name kind size } } }' }),
    segmentVersions: connection(listSegmentVersions),
    segmentMembers: connection(listSegmentMembers, { sort: 'CustomerSort' }),
    segmentChanges: connection(listSegmentChanges),
    segmentPreview: field(previewSegment, { cost: 50 }),
    segmentFields: field(getSegmentFields, {
      example: '{ segmentFields { fields { name type operators personal } } }',
    }),
  },
  Mutation: {
    createSegment: mutation(createSegment, 'segment'),
    updateSegment: mutation(updateSegment, 'segment'),
    deleteSegment: mutation(deleteSegment),
    addSegmentMembers: mutation(addSegmentMembers),
    removeSegmentMember: mutation(removeSegmentMember),
  },
  SegmentChange: {
    customer: related(customersByIds, 'customerId'),
  },
};
