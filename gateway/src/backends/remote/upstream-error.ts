// A server's refusal as one of our errors: which code it is decides whether another back end is asked, whether this one
// is left alone for a while, and what the client is told.
// It must never tell a client that the client's own key is bad, when it is the gateway's.
import { GatewayError } from '../../core/errors.ts';
import { retryAfterLimit, retryAfterOf } from './retry-after.ts';
import { readUpstreamMessage, type UpstreamMessage } from './upstream-message.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

export interface UpstreamErrorOptions {
  /** What must not reach a client: the back end's key. */
  readonly secrets?: readonly string[] | undefined;
  /** Ms since the epoch; default: now. */
  readonly now?: number | undefined;
}

/** As OpenAI, vLLM, SGLang, llama.cpp, DeepSeek, SiliconFlow, Ollama and Moonshot say that a prompt does not fit. */
const WINDOW_CODES = ['context_length_exceeded', 'exceed_context_size_error'];
const WINDOW_TEXT =
  /maximum context length|maximum model length|context length is only|(longer than|exceeds?) the (model's |maximum |available )*context (length|size)|max_seq_len|model token limit|input token length too long/i;
/** As llama.cpp and Ollama say that their model fills no gaps. */
const INFILL_TEXT = /infill is not supported|does not support insert/i;
/** Its account is empty: a matter of the gateway's owner, who should read it. */
const ACCOUNT_TEXT = /balance|余额|欠费|quota|billing|arrears|payment/i;

/**
 * The error of an answer whose status is 400 or above. `backend_busy` always has `retryAfterMs`. The body may be cut
 * short by who read it; no form of it is an error of its own.
 */
export function upstreamError(
  status: number,
  headers: UpstreamHeaders,
  body: string,
  options: UpstreamErrorOptions = {},
): GatewayError {
  const message = readUpstreamMessage(body, options.secrets);
  if (status === 429 || status === 503 || status === 529) return busy(status, headers, message, options.now);
  if (status === 408 || status === 504 || status === 524) {
    return new GatewayError('backend_timeout', said('The back end did not answer in time', message));
  }
  if (status === 508) {
    const text = message.text ?? 'A back end led the request back to where it had been.';
    return new GatewayError('loop_detected', text);
  }
  if (isTooLong(status, message)) return tooLong(message);
  if (status === 401 || status === 402 || status === 403) return keyRefused(status, message);
  if (status >= 400 && status < 500) return refused(status, message);
  // Not broken: llama.cpp's server says so of what its model, or the way it was started, does not have.
  if (status === 501 && !message.isPage)
    return refused(400, { ...message, type: undefined, code: undefined });
  return new GatewayError('backend_failed', said(`The back end answered with status ${status}`, message));
}

function busy(
  status: number,
  headers: UpstreamHeaders,
  message: UpstreamMessage,
  now = Date.now(),
): GatewayError {
  const text = message.text ?? 'The back end is busy.';
  return new GatewayError('backend_busy', text, {
    status,
    retryAfterMs: retryAfterOf(headers, now) ?? retryAfterLimit(text, now),
    ...(status === 429 && { wire: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } }),
  });
}

function isTooLong(status: number, { code, type, text }: UpstreamMessage): boolean {
  // Some servers say it with a 500, and would say it again.
  if (status !== 400 && status !== 413 && status !== 422 && status !== 500) return false;
  return [code, type].some((name) => name && WINDOW_CODES.includes(name)) || WINDOW_TEXT.test(text ?? '');
}

function tooLong({ text, param }: UpstreamMessage): GatewayError {
  return new GatewayError(
    'context_length_exceeded',
    text ?? "The request exceeds the model's context window.",
    {
      param,
    },
  );
}

/** Not the client's fault, and another back end has another key: so it counts as this one's failure. */
function keyRefused(status: number, message: UpstreamMessage): GatewayError {
  if (status === 402 || (status === 403 && ACCOUNT_TEXT.test(message.text ?? ''))) {
    return new GatewayError('backend_failed', said("The back end refused the gateway's account", message));
  }
  return new GatewayError('backend_failed', "The back end did not accept the gateway's key.");
}

function refused(status: number, message: UpstreamMessage): GatewayError {
  const { text, type, code } = message;
  const param = message.param ?? (INFILL_TEXT.test(text ?? '') ? 'suffix' : undefined);
  return new GatewayError(
    'backend_refused',
    text ?? said(`The back end answered with status ${status}`, message),
    {
      status,
      param,
      wire: { type: type ?? 'invalid_request_error', code: code ?? 'backend_refused' },
    },
  );
}

/** A sentence of ours with the server's own words behind it. */
function said(sentence: string, { text, isPage }: UpstreamMessage): string {
  if (isPage) return `${sentence}: it sent a web page instead of JSON.`;
  return text ? `${sentence}: ${text}` : `${sentence}.`;
}
