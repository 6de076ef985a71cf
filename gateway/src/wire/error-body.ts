// An error as clients see it, whole or within a stream: one shape that OpenAI's and SiliconFlow's clients both show.
// Never a cause and never a stack: only what GatewayError's message says.
import { ERROR_TRAITS, type GatewayError } from '../core/errors.ts';

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

export function errorBody({ code, message, param }: GatewayError): ErrorBody {
  const { type, wireCode } = ERROR_TRAITS[code];
  return {
    error: { message, type, code: wireCode, param: param ?? null },
    code: wireCode,
    message,
    data: null,
  };
}
