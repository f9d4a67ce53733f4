import { route } from '../../platform/http/rest.ts';
import { exportOperations } from './operations.ts';

export const exportRoutes = exportOperations.map(({ kind, operation }) =>
  route('GET', `/v1/exports/${kind}`, operation),
);
