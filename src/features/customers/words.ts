import { z } from 'zod';

export const customerKinds = ['person', 'company'] as const;
export type CustomerKind = (typeof customerKinds)[number];
export const identityKinds = ['email', 'phone', 'handle'] as const;
export type IdentityKind = (typeof identityKinds)[number];
export const channels = ['email', 'phone', 'sms', 'chat', 'post', 'social', 'store'] as const;
export type Channel = (typeof channels)[number];

export const customerKind = z
  .enum(customerKinds)
  .meta({ id: 'CustomerKind', description: 'A person or a company.', example: 'person' });
export const identityKind = z.enum(identityKinds).meta({ id: 'IdentityKind', example: 'email' });
export const channel = z
  .enum(channels)
  .meta({ id: 'Channel', description: 'A way to reach a customer.', example: 'email' });
