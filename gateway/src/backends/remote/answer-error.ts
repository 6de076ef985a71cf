// Which HTTP status an error stands for that a server tells within an answer, after it had said 200.
// It must never read the error's text: only its code and its kind.
// Pure.
import { type Members, membersOf } from './upstream-json.ts';

const STATUSES: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  badrequesterror: 400,
  context_length_exceeded: 400,
  authentication_error: 401,
  invalid_api_key: 401,
  permission_error: 403,
  not_found_error: 404,
  model_not_found: 404,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  overloaded_error: 503,
  server_busy: 503,
};

const UNKNOWN = 500;

/** Whether an event of an answer is an error: `{"error": …}`, or vLLM's `{"object": "error", …}`. */
export function isAnswerError({ error, object }: Members): boolean {
  return Boolean(error) || object === 'error';
}

/** 400 to 599; 500 where the error does not tell. */
export function statusOfError(event: Members): number {
  const error = membersOf(event.error);
  const told = [error.code, error.status, error.status_code, event.code, event.status, event.status_code];
  for (const one of told) {
    const status = typeof one === 'string' && /^\d{3}$/.test(one) ? Number(one) : one;
    if (typeof status === 'number' && status >= 400 && status <= 599) return Math.trunc(status);
  }
  for (const one of [error.code, error.type, event.code, event.type]) {
    const word = String(one).toLowerCase();
    if (Object.hasOwn(STATUSES, word)) return STATUSES[word]!;
  }
  return UNKNOWN;
}
