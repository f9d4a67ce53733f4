import { route } from '../../platform/http/rest.ts';
import { listExchangeRates, putExchangeRates } from './operations.ts';

export const rateRoutes = [
  route('GET', '/v1/exchange-rates', listExchangeRates),
  route('PUT', '/v1/exchange-rates', putExchangeRates),
];
