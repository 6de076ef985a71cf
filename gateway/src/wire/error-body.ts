// An error as clients see it, whole or within a stream: one shape that OpenAI's and SiliconFlow's clients both show.
// Never a cause and never a stack: only what GatewayError's message says.
import type { GatewayError } from '../core/errors.ts';

/** The outer `code` and `message` are where SiliconFlow's clients look, `error` is where OpenAI's do. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly code: string;
    readonly param: string | null;
  };
  readonly code: string;
  readonly message: string;
  readonly data: null;
}

/** The same body for an answer that failed whole and for the last event of a stream that broke. */
export function errorBody({ wire: { type, code }, message, param }: GatewayError): ErrorBody {
  return {
    error: { message, type, code, param: param ?? null },
    code,
    message,
    data: null,
  };
}
