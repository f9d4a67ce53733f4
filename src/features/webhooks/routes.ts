import { route } from '../../platform/http/rest.ts';
import {
  createWebhook,
  deleteWebhook,
  getWebhook,
  getWebhookDelivery,
  listWebhookDeliveries,
  listWebhooks,
  resendWebhookDelivery,
  rotateWebhookSecret,
  testWebhook,
  updateWebhook,
} from './operations.ts';

export const webhookRoutes = [
  route('GET', '/v1/webhooks', listWebhooks),
  route('POST', '/v1/webhooks', createWebhook),
  route('GET', '/v1/webhooks/:id', getWebhook),
  route('PATCH', '/v1/webhooks/:id', updateWebhook),
  route('DELETE', '/v1/webhooks/:id', deleteWebhook),
  route('POST', '/v1/webhooks/:id/rotate-secret', rotateWebhookSecret),
  route('POST', '/v1/webhooks/:id/test', testWebhook),
  route('GET', '/v1/webhooks/:id/deliveries', listWebhookDeliveries),
  route('GET', '/v1/webhooks/:id/deliveries/:deliveryId', getWebhookDelivery),
  route('POST', '/v1/webhooks/:id/deliveries/:deliveryId/resend', resendWebhookDelivery),
];
