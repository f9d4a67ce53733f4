import { route } from '../../platform/http/rest.ts';
import { getEventPosition, listEvents } from './operations.ts';

export const changeFeedRoutes = [
  route('GET', '/v1/events', listEvents),
  route('GET', '/v1/events/position', getEventPosition),
];
