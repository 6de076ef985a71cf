// Guards the one table of errors: its promises to clients (status, retry) and that foreign errors never pass as ours.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_TRAITS, type ErrorCode, GatewayError, toGatewayError } from './errors.ts';

/** As the wire contract has it: status, wire type, wire code; whether asking again may help, it is load, another may do better. */
const CONTRACT: Readonly<Record<ErrorCode, readonly [number, string, string, boolean, boolean, boolean]>> = {
  invalid_request: [400, 'invalid_request_error', 'invalid_request', false, false, false],
  unauthenticated: [401, 'authentication_error', 'invalid_api_key', false, false, false],
  forbidden: [403, 'invalid_request_error', 'forbidden', false, false, false],
  model_not_found: [404, 'invalid_request_error', 'model_not_found', false, false, false],
  not_found: [404, 'invalid_request_error', 'not_found', false, false, false],
  method_not_allowed: [405, 'invalid_request_error', 'method_not_allowed', false, false, false],
  upgrade_required: [426, 'invalid_request_error', 'upgrade_required', false, false, false],
  stream_gone: [410, 'invalid_request_error', 'stream_gone', false, false, false],
  idempotency_mismatch: [422, 'invalid_request_error', 'invalid_request', false, false, false],
  context_length_exceeded: [400, 'invalid_request_error', 'context_length_exceeded', false, false, false],
  body_too_large: [413, 'invalid_request_error', 'body_too_large', false, false, false],
  request_timeout: [408, 'invalid_request_error', 'request_timeout', false, false, false],
  rate_limited: [429, 'rate_limit_error', 'rate_limit_exceeded', true, false, false],
  overloaded: [503, 'overloaded_error', 'overloaded', true, false, false],
  queue_timeout: [503, 'overloaded_error', 'queue_timeout', true, false, false],
  not_ready: [503, 'overloaded_error', 'not_ready', true, false, false],
  deadline_exceeded: [504, 'timeout_error', 'deadline_exceeded', false, true, false],
  cancelled: [499, 'cancelled', 'cancelled', false, false, false],
  slow_reader: [408, 'stream_error', 'slow_reader', false, false, false],
  backend_refused: [400, 'invalid_request_error', 'backend_refused', false, false, false],
  backend_busy: [503, 'overloaded_error', 'backend_busy', true, true, true],
  backend_failed: [502, 'backend_error', 'backend_failed', false, true, true],
  backend_timeout: [504, 'timeout_error', 'backend_timeout', false, true, true],
  loop_detected: [508, 'invalid_request_error', 'loop_detected', false, false, true],
  internal: [500, 'internal_error', 'internal', false, false, false],
};

test('every code has the row that the contract promises, and there is no row without a code', () => {
  const rows = Object.entries(ERROR_TRAITS).map(([code, traits]) => [
    code,
    [traits.status, traits.type, traits.wireCode, traits.retryable, traits.shrinksLimit, traits.elsewhere],
  ]);
  assert.deepEqual(Object.fromEntries(rows), CONTRACT);
});

test("an error has its table's status unless it is given one", () => {
  assert.equal(new GatewayError('overloaded', 'Full.').status, 503);
  assert.equal(new GatewayError('backend_refused', 'No.', { status: 422 }).status, 422);
});

test('an error keeps what it is told, and has no cause unless there is one', () => {
  const cause = new Error('below');
  const error = new GatewayError('invalid_request', 'Bad.', { param: 'stop[0]', retryAfterMs: 5, cause });
  assert.deepEqual(
    [error.name, error.code, error.message, error.param, error.retryAfterMs, error.cause],
    ['GatewayError', 'invalid_request', 'Bad.', 'stop[0]', 5, cause],
  );
  assert.equal('cause' in new GatewayError('internal', 'x'), false);
});

test('an error of ours passes as it is; anything else becomes internal and shows the client nothing of it', () => {
  const ours = new GatewayError('cancelled', 'The client left.');
  assert.equal(toGatewayError(ours), ours);
  for (const thrown of [new TypeError('secret detail'), 'secret detail', { secret: 'detail' }, 0]) {
    const error = toGatewayError(thrown);
    assert.equal(error.code, 'internal');
    assert.equal(error.cause, thrown);
    assert.doesNotMatch(error.message, /secret|detail/);
  }
  assert.equal(toGatewayError(undefined).code, 'internal');
});
