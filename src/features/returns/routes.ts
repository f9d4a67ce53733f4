import { recordRoutes } from '../../records/routes.ts';
import { returnOperations } from './operations.ts';

export const returnRoutes = recordRoutes('/v1/returns', returnOperations);
