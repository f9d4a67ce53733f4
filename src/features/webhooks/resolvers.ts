import { connection, mutation, type Resolvers, record } from '../../platform/graphql/field.ts';
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

export const webhookResolvers: Resolvers = {
  Query: {
    webhook: record(getWebhook),
    webhooks: connection(listWebhooks),
    webhookDelivery: record(getWebhookDelivery),
    webhookDeliveries: connection(listWebhookDeliveries),
  },
  Mutation: {
    createWebhook: mutation(createWebhook, 'webhook', { payload: 'NewWebhookPayload' }),
    updateWebhook: mutation(updateWebhook, 'webhook'),
    deleteWebhook: mutation(deleteWebhook),
    rotateWebhookSecret: mutation(rotateWebhookSecret, 'webhook', { payload: 'NewWebhookPayload' }),
    testWebhook: mutation(testWebhook, 'delivery', { payload: 'WebhookDeliveryPayload' }),
    resendWebhookDelivery: mutation(resendWebhookDelivery, 'delivery', { payload: 'WebhookDeliveryPayload' }),
  },
};
