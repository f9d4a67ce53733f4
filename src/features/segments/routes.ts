import { route } from '../../platform/http/rest.ts';
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

export const segmentRoutes = [
  route('GET', '/v1/segments', listSegments),
  route('POST', '/v1/segments', createSegment),
  route('GET', '/v1/segments/fields', getSegmentFields),
  route('POST', '/v1/segments/preview', previewSegment),
  route('GET', '/v1/segments/:id', getSegment),
  route('PATCH', '/v1/segments/:id', updateSegment),
  route('DELETE', '/v1/segments/:id', deleteSegment),
  route('GET', '/v1/segments/:id/versions', listSegmentVersions),
  route('GET', '/v1/segments/:id/members', listSegmentMembers),
  route('POST', '/v1/segments/:id/members', addSegmentMembers),
  route('DELETE', '/v1/segments/:id/members/:customerId', removeSegmentMember),
  route('GET', '/v1/segments/:id/changes', listSegmentChanges),
];
