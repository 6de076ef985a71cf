// Everything that can go wrong, as one closed list and one table.
// Back ends translate foreign errors into these codes; only the edge translates codes into HTTP.
// Adding a code without its row does not compile.

export type ErrorCode =
  | 'invalid_request'
  | 'unauthenticated'
  | 'forbidden'
  | 'model_not_found'
  | 'not_found'
  | 'method_not_allowed'
  | 'upgrade_required'
  | 'stream_gone'
  | 'idempotency_mismatch'
  | 'context_length_exceeded'
  | 'body_too_large'
  | 'request_timeout'
  | 'rate_limited'
  | 'overloaded'
  | 'queue_timeout'
  | 'not_ready'
  | 'deadline_exceeded'
  | 'cancelled'
  | 'slow_reader'
  | 'backend_refused'
  | 'backend_busy'
  | 'backend_failed'
  | 'backend_timeout'
  | 'loop_detected'
  | 'internal';

export interface ErrorTraits {
  /** HTTP status when nothing was sent yet. 499 is never sent: it is what metrics say of a client that left. */
  readonly status: number;
  /** `error.type` on the wire. */
  readonly type: string;
  /** `error.code` on the wire. */
  readonly wireCode: string;
  /** Asking again later may succeed: the answer carries Retry-After and `x-should-retry: true`. */
  readonly retryable: boolean;
  /** The back end showed that it has too much to do; an adaptive limit should shrink. */
  readonly shrinksLimit: boolean;
  /** Another back end may do better. */
  readonly elsewhere: boolean;
}

const invalid = (status: number, wireCode: string): ErrorTraits => ({
  status,
  type: 'invalid_request_error',
  wireCode,
  retryable: false,
  shrinksLimit: false,
  elsewhere: false,
});
const overload = (wireCode: string): ErrorTraits => ({
  status: 503,
  type: 'overloaded_error',
  wireCode,
  retryable: true,
  shrinksLimit: false,
  elsewhere: false,
});

export const ERROR_TRAITS: Readonly<Record<ErrorCode, ErrorTraits>> = {
  invalid_request: invalid(400, 'invalid_request'),
  unauthenticated: { ...invalid(401, 'invalid_api_key'), type: 'authentication_error' },
  forbidden: invalid(403, 'forbidden'),
  model_not_found: invalid(404, 'model_not_found'),
  not_found: invalid(404, 'not_found'),
  method_not_allowed: invalid(405, 'method_not_allowed'),
  upgrade_required: invalid(426, 'upgrade_required'),
  stream_gone: invalid(410, 'stream_gone'),
  idempotency_mismatch: invalid(422, 'invalid_request'),
  context_length_exceeded: invalid(400, 'context_length_exceeded'),
  body_too_large: invalid(413, 'body_too_large'),
  request_timeout: invalid(408, 'request_timeout'),
  rate_limited: { ...overload('rate_limit_exceeded'), status: 429, type: 'rate_limit_error' },
  overloaded: overload('overloaded'),
  queue_timeout: overload('queue_timeout'),
  not_ready: overload('not_ready'),
  deadline_exceeded: {
    status: 504,
    type: 'timeout_error',
    wireCode: 'deadline_exceeded',
    retryable: false,
    shrinksLimit: true,
    elsewhere: false,
  },
  cancelled: { ...invalid(499, 'cancelled'), type: 'cancelled' },
  slow_reader: { ...invalid(408, 'slow_reader'), type: 'stream_error' },
  backend_refused: invalid(400, 'backend_refused'),
  backend_busy: { ...overload('backend_busy'), shrinksLimit: true, elsewhere: true },
  backend_failed: {
    status: 502,
    type: 'backend_error',
    wireCode: 'backend_failed',
    retryable: false,
    shrinksLimit: true,
    elsewhere: true,
  },
  backend_timeout: {
    status: 504,
    type: 'timeout_error',
    wireCode: 'backend_timeout',
    retryable: false,
    shrinksLimit: true,
    elsewhere: true,
  },
  loop_detected: { ...invalid(508, 'loop_detected'), elsewhere: true },
  internal: {
    status: 500,
    type: 'internal_error',
    wireCode: 'internal',
    retryable: false,
    shrinksLimit: false,
    elsewhere: false,
  },
};

/** An error's names as clients see them. */
export interface WireNames {
  readonly type: string;
  readonly code: string;
}

export interface GatewayErrorOptions {
  /** The request's field that is at fault, as a path: `messages[0].content`. */
  readonly param?: string | undefined;
  /** When asking again makes sense, in ms from now; Infinity: nobody can promise a time. */
  readonly retryAfterMs?: number | undefined;
  /** Overrides the table's HTTP status; only for `backend_refused` and `backend_busy`, which pass their own on. */
  readonly status?: number | undefined;
  /** Overrides the table's `type` and `code` on the wire; for the same two. */
  readonly wire?: WireNames | undefined;
  readonly cause?: unknown;
}

/** The one error type that crosses module borders. Its message is shown to clients: no secret, no stack. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly status: number;
  readonly wire: WireNames;

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.param = options.param;
    this.retryAfterMs = options.retryAfterMs;
    const traits = ERROR_TRAITS[code];
    this.status = options.status ?? traits.status;
    this.wire = options.wire ?? { type: traits.type, code: traits.wireCode };
  }
}

/**
 * What was thrown, as a GatewayError. An unknown error is a bug of ours: the client learns only that, and the
 * original stays as `cause` for the log.
 */
export function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return new GatewayError('internal', 'The gateway failed in a way it did not expect.', { cause: thrown });
}
