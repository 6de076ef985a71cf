// The one shape of errors, for every code of the table.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_TRAITS, type ErrorCode, GatewayError } from '../core/errors.ts';
import { errorBody } from './error-body.ts';

test('every code has its type and wire code, within and outside', () => {
  for (const code of Object.keys(ERROR_TRAITS) as ErrorCode[]) {
    const { type, wireCode } = ERROR_TRAITS[code];
    assert.deepEqual(errorBody(new GatewayError(code, 'Why.', { param: 'n' })), {
      error: { message: 'Why.', type, code: wireCode, param: 'n' },
      code: wireCode,
      message: 'Why.',
      data: null,
    });
  }
});

test('no cause and no stack is shown; a param that is absent is null', () => {
  const body = errorBody(new GatewayError('internal', 'Why.', { cause: new Error('secret') }));
  assert.equal(body.error.param, null);
  assert.doesNotMatch(JSON.stringify(body), /secret|stack|\.ts/);
});
