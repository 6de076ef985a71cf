// Guards what servers' refusals become: the code that decides what is done, and what a client is told of it, never more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { upstreamError } from './upstream-error.ts';

const NOW = Date.parse('2025-10-21T07:28:15.500Z');
const refuse = (status: number, body: unknown, headers = {}, secrets: readonly string[] = []) =>
  upstreamError(status, headers, typeof body === 'string' ? body : JSON.stringify(body), {
    secrets,
    now: NOW,
  });
const shown = (status: number, body: unknown) => {
  const { code, status: sent, message, param, wire } = refuse(status, body);
  return [code, sent, wire.type, wire.code, param, message];
};

test('who fills no gaps refuses by the field, and is as well as before', () => {
  const llamaCpp = 'Infill is not supported by this model: prefix token is missing. ';
  const cannot = { error: { code: 501, message: llamaCpp, type: 'not_supported_error' } };
  const [code, status, type, wireCode, param] = shown(501, cannot);
  assert.deepEqual(
    [code, status, type, wireCode, param],
    ['backend_refused', 400, 'invalid_request_error', 'backend_refused', 'suffix'],
  );
  const ollama = shown(400, { error: 'registry.ollama.ai/library/qwen3:8b does not support insert' });
  assert.deepEqual([ollama[0], ollama[1], ollama[4]], ['backend_refused', 400, 'suffix']);
  assert.equal(refuse(501, '<html>Unsupported method</html>').code, 'backend_failed', 'another server');
});

test('every dialect of refusing says its own words', () => {
  const cases: readonly (readonly [
    body: unknown,
    type: string,
    code: string,
    param: string | undefined,
    text: string,
  ])[] = [
    [
      { error: { message: 'Bad top_p.', type: 'invalid_request_error', code: 'bad_value', param: 'top_p' } },
      'invalid_request_error',
      'bad_value',
      'top_p',
      'Bad top_p.',
    ],
    [
      { object: 'error', message: 'No such thing.', type: 'BadRequestError', param: 'stop[0]', code: 400 },
      'BadRequestError',
      'backend_refused',
      'stop[0]',
      'No such thing.',
    ],
    [
      { error: { message: 'No.', type: 'NotFoundError', param: null, code: 404 } },
      'NotFoundError',
      'backend_refused',
      undefined,
      'No.',
    ],
    [{ detail: 'Not allowed' }, 'invalid_request_error', 'backend_refused', undefined, 'Not allowed'],
    [
      {
        detail: [
          { loc: ['body', 'messages', 0, 'content'], msg: 'field required', input: 'what the user wrote' },
          { loc: ['body'], msg: 'too long' },
        ],
      },
      'invalid_request_error',
      'backend_refused',
      undefined,
      'messages.0.content: field required; too long',
    ],
    [
      { code: 20012, message: 'Model does not exist.', data: null },
      'invalid_request_error',
      'backend_refused',
      undefined,
      'Model does not exist.',
    ],
    ['"404 page not found"', 'invalid_request_error', 'backend_refused', undefined, '404 page not found'],
    [
      { error: 'model "x" not found' },
      'invalid_request_error',
      'backend_refused',
      undefined,
      'model "x" not found',
    ],
    ['no good\n', 'invalid_request_error', 'backend_refused', undefined, 'no good'],
    [
      [{ error: { message: 'In a list.' } }],
      'invalid_request_error',
      'backend_refused',
      undefined,
      'In a list.',
    ],
    ['', 'invalid_request_error', 'backend_refused', undefined, 'The back end answered with status 422.'],
    ['{}', 'invalid_request_error', 'backend_refused', undefined, 'The back end answered with status 422.'],
    ['{"error":', 'invalid_request_error', 'backend_refused', undefined, '{"error":'],
    [
      '<!DOCTYPE html><html>secret internals</html>',
      'invalid_request_error',
      'backend_refused',
      undefined,
      'The back end answered with status 422: it sent a web page instead of JSON.',
    ],
  ];
  for (const [body, type, code, param, text] of cases)
    assert.deepEqual(
      shown(422, body),
      ['backend_refused', 422, type, code, param, text],
      JSON.stringify(body),
    );
});

test('names that are no plain words are not passed on', () => {
  const odd = ['two words', '', 'ü', '<b>', 'x'.repeat(65), '9lives', 'a\nb', { deep: 1 }, null];
  for (const name of odd) {
    const error = refuse(400, { error: { message: 'No.', type: name, code: name, param: name } });
    assert.deepEqual(
      [error.wire.type, error.wire.code, error.param],
      ['invalid_request_error', 'backend_refused', undefined],
    );
  }
});

test('busy: its own status, the wire names of its kind, and always a time', () => {
  const limited = refuse(429, { error: { message: 'slow down', code: 'anything' } }, { 'retry-after': '17' });
  assert.deepEqual(
    [limited.code, limited.status, limited.wire, limited.retryAfterMs, limited.message],
    ['backend_busy', 429, { type: 'rate_limit_error', code: 'rate_limit_exceeded' }, 17_000, 'slow down'],
  );
  for (const status of [503, 529]) {
    const error = refuse(status, '');
    assert.deepEqual(
      [error.code, error.status, error.wire, error.retryAfterMs, error.message],
      [
        'backend_busy',
        status,
        { type: 'overloaded_error', code: 'backend_busy' },
        1_000,
        'The back end is busy.',
      ],
    );
  }
  const named = refuse(429, { message: 'TPM limit reached', data: null });
  assert.deepEqual([named.message, named.retryAfterMs], ['TPM limit reached', 44_500]);
});

test('the gateway’s own key or account: never the client’s fault, and no word of the key', () => {
  for (const status of [401, 403]) {
    const error = refuse(status, {
      error: { message: 'Incorrect API key provided: sk-abc', code: 'invalid_api_key' },
    });
    assert.deepEqual(
      [error.code, error.status, error.wire.code, error.message],
      ['backend_failed', 502, 'backend_failed', "The back end did not accept the gateway's key."],
    );
  }
  const account = (status: number, body: unknown) => refuse(status, body).message;
  assert.equal(
    account(402, { error: { message: 'Insufficient Balance' } }),
    "The back end refused the gateway's account: Insufficient Balance",
  );
  assert.equal(
    account(403, { code: 30001, message: 'Sorry, your account balance is insufficient', data: null }),
    "The back end refused the gateway's account: Sorry, your account balance is insufficient",
  );
});

test('a prompt that is too long is the client’s to mend, however it is said', () => {
  const texts = [
    { error: { message: 'Too long.', code: 'context_length_exceeded' } },
    { error: { code: 400, message: 'Too long.', type: 'exceed_context_size_error', n_ctx: 512 } },
    {
      object: 'error',
      message: "This model's maximum context length is 4096 tokens. However, you requested 5000.",
    },
    {
      error: {
        message: "You passed 4097 input tokens. However, the model's context length is only 4096 tokens.",
      },
    },
    { message: 'The decoder prompt (length 5000) is longer than the maximum model length of 4096.' },
    { message: "The input (5000 tokens) is longer than the model's context length (4096 tokens)." },
    { error: { message: 'the request exceeds the available context size, try increasing it' } },
    {
      code: 20015,
      message: 'length of prompt_tokens (10393) must be less than max_seq_len (8192).',
      data: null,
    },
    { error: 'the input length exceeds the context length' },
  ];
  for (const body of texts)
    for (const status of [400, 413, 422, 500])
      assert.deepEqual(
        shown(status, body).slice(0, 4),
        ['context_length_exceeded', 400, 'invalid_request_error', 'context_length_exceeded'],
        JSON.stringify(body),
      );
  assert.equal(refuse(400, { message: 'The context of the tool is missing.' }).code, 'backend_refused');
  assert.equal(refuse(429, { message: 'max_seq_len' }).code, 'backend_busy');
});

test('time-outs, failures and what should not have been an error at all', () => {
  for (const status of [408, 504, 524])
    assert.deepEqual(shown(status, '"late"').slice(0, 2), ['backend_timeout', 504], `${status}`);
  for (const status of [500, 502, 505, 520, 599])
    assert.deepEqual(shown(status, { error: { message: 'CUDA error' } }), [
      'backend_failed',
      502,
      'backend_error',
      'backend_failed',
      undefined,
      `The back end answered with status ${status}: CUDA error`,
    ]);
  assert.equal(
    shown(502, '<html>')[5],
    'The back end answered with status 502: it sent a web page instead of JSON.',
  );
  assert.equal(refuse(204, '').code, 'backend_failed');
});

test('secrets are never in it, wherever the server repeats them', () => {
  const secret = 'sk-live.$&+[1]';
  const word = 'sk-live-123';
  const body = {
    error: { message: `bad key ${secret}, I say ${secret}: ${word}`, type: word, code: word, param: word },
  };
  for (const status of [400, 402, 429, 500, 504]) {
    const error = refuse(status, body, {}, [secret, word, '']);
    assert.match(error.message, /bad key \*\*\*, I say \*\*\*: \*\*\*/);
    assert.doesNotMatch(JSON.stringify([error.message, error.wire, error.param]), /sk-live/);
  }
  const late = refuse(400, `${'x'.repeat(1_995)} ${word}`, {}, [word]);
  assert.doesNotMatch(late.message, /sk-/);
});

test('whatever the body is, the message is bounded and printable', () => {
  assert.equal(refuse(400, `a\u0000\u001b[31m\r\n\u2028b`).message, 'a [31m b');
  assert.equal(refuse(400, '\ud83d\ude00'.repeat(2_000)).message.length, 2_000);
  assert.equal(refuse(400, `x${'\ud83d\ude00'.repeat(2_000)}`).message.isWellFormed(), true);
  const deep = `${'{"error":'.repeat(10_000)}1${'}'.repeat(10_000)}`;
  assert.equal(refuse(400, deep).message, 'The back end answered with status 400.');
  refuse(400, '['.repeat(100_000));
  const property = fc.property(
    fc.oneof(fc.string({ unit: fc.constantFrom(...'a"{}[]:<\\ \n\0\u2028😀', '\ud83d') }), fc.json()),
    fc.nat(999),
    (body, status) => {
      const { message } = refuse(status, body);
      assert.ok(message.length > 0 && message.length <= 2_100);
      assert.doesNotMatch(message, /[\p{Cc}\u2028\u2029]/u);
    },
  );
  fc.assert(property);
});
