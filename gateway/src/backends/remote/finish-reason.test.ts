// The words of many servers for an answer's end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureOf } from './answer-testing.ts';
import { finishReasonOf } from './finish-reason.ts';

for (const [reason, words] of [
  [undefined, [null, undefined, '', 'null']],
  ['stop', ['stop', 'STOP', 'eos', 'end_turn', 'stop_sequence', 'toString', '__proto__', 7, {}]],
  ['length', ['length', 'max_tokens', 'MAX_TOKENS', 'model_length']],
  ['tool_calls', ['tool_calls', 'function_call', 'tool_use']],
  ['content_filter', ['content_filter', 'SAFETY', 'sensitive']],
] as const) {
  test(`${reason ?? 'no end'}`, () => {
    for (const word of words) assert.equal(finishReasonOf(word), reason, String(word));
  });
}

test('a server that gave up has not ended its answer', () => {
  for (const word of ['abort', 'error', 'cancelled', 'insufficient_system_resource']) {
    assert.equal(failureOf(() => finishReasonOf(word)).message, 'The back end broke off its answer.');
  }
});
