import { route } from '../../platform/http/rest.ts';
import { getSegmentFields } from './vocabulary.ts';

export const segmentRoutes = [route('GET', '/v1/segments/fields', getSegmentFields)];
