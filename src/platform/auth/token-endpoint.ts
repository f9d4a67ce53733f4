import type { TokenClaims } from './verifier.ts';

/** The errors that the token endpoint can answer (RFC 6749, 5.2). */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'unsupported_token_type'
  | 'invalid_scope';

/** A refusal in the words of OAuth. The description is ASCII without quotes and backslashes, as the RFC has it. */
export class OAuthError extends Error {
  readonly code: OAuthErrorCode;

  constructor(code: OAuthErrorCode, description: string) {
    super(description);
    this.code = code;
  }
}

export interface Credentials {
  id: string;
  secret: string;
}

/** A successful answer of the token endpoint (RFC 6749, 5.1). */
export interface TokenAnswer {
  access_token: string;
  token_type: 'Bearer';
  /** Seconds. */
  expires_in: number;
  scope: string;
}

export interface RevocationRequest {
  token: string;
  claims: TokenClaims | null;
  /** For the audit. */
  requestId: string;
  /** The address of the client. */
  address: string;
}

/** What stands behind `/oauth/token` and `/oauth/revoke`; null under an outside provider. */
export interface TokenEndpoint {
  /**
   * A token for a client that proves itself (client_credentials).
   *
   * @param request.scope space-separated. Default: all scopes of the client
   * @param request.customer UUID: a short-lived token that is bound to this customer
   * @throws OAuthError
   */
  token(credentials: Credentials, request: { scope: string | null; customer: string | null }): Promise<TokenAnswer>;
  /**
   * Revokes a token of the client (RFC 7009).
   *
   * @param request.claims what the token says; null when it is not genuine or has expired: then nothing is to be done
   * @throws OAuthError
   */
  revoke(credentials: Credentials, request: RevocationRequest): Promise<void>;
}
