import { route } from '../../platform/http/rest.ts';
import { getCustomerTimeline } from './operations.ts';

export const timelineRoutes = [
  route('GET', '/v1/customers/:id/timeline', getCustomerTimeline),
  route('GET', '/v1/customers/external/:source/:externalId/timeline', getCustomerTimeline),
];
