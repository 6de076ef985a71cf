// Checks conversation.ts: contents joined, other parts refused by place, and hopeless sizes refused uncounted.
// It must never load a model.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatRequest, Message } from '../../core/chat.ts';
import { toEnginePrompt } from './conversation.ts';

const ask = (messages: readonly Message[], extra: Record<string, unknown> = {}): ChatRequest => ({
  model: 'm',
  prompt: { kind: 'messages', messages },
  sampling: {},
  stop: [],
  choices: 1,
  extra,
});

test('text parts are joined, null is empty, developer is system, lone surrogates are mended', () => {
  const prompt = toEnginePrompt(
    ask(
      [
        { role: 'developer', content: 'x\ud800' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: null, reasoning: 'hm' },
      ],
      { chat_template_kwargs: { enable_thinking: false } },
    ),
    4096,
  );
  assert.ok(prompt.kind === 'messages');
  assert.equal(prompt.enableThinking, false);
  assert.deepEqual(
    prompt.messages.map(({ role, content, reasoning }) => [role, content, reasoning]),
    [
      ['system', 'x\uFFFD', undefined],
      ['user', 'ab', undefined],
      ['assistant', '', 'hm'],
    ],
  );
});

test('a part that is not text is refused with its place', () => {
  const image = { type: 'other', kind: 'image_url', value: {} } as const;
  assert.throws(
    () =>
      toEnginePrompt(
        ask([
          { role: 'user', content: 'a' },
          { role: 'user', content: [{ type: 'text', text: 'b' }, image] },
        ]),
        4096,
      ),
    { code: 'invalid_request', param: 'messages[1].content[1]' },
  );
  assert.throws(() => toEnginePrompt(ask([]), 4096), { code: 'invalid_request', param: 'messages' });
});

test("what there is of the answer counts towards what is too long, but a model's own tokens fit", () => {
  const choice = { text: '中'.repeat(30_000), reasoning: '', toolCalls: [], reason: undefined };
  const from = (tokens?: number[]) => ({
    ...ask([{ role: 'user', content: 'a' }]),
    continueFrom: { speaker: undefined, choices: [{ ...choice, tokens }], usage: undefined },
  });
  assert.throws(() => toEnginePrompt(from(), 4096), { code: 'context_length_exceeded' });
  assert.equal(toEnginePrompt(from([1]), 4096).kind, 'messages');
});

test('what is far too long is refused with an estimate that says so', () => {
  const many = Array.from({ length: 10_000 }, (): Message => ({ role: 'user', content: 'x' }));
  for (const messages of [many, [{ role: 'user', content: '中'.repeat(100_000) } satisfies Message]]) {
    assert.throws(() => toEnginePrompt(ask(messages), 4096), {
      code: 'context_length_exceeded',
      message: /about \d+ tokens .*4096/,
    });
  }
  const text = { ...ask([]), prompt: { kind: 'text', text: 'x'.repeat(4096 * 16 + 1) } } as const;
  assert.throws(() => toEnginePrompt(text, 4096), { code: 'context_length_exceeded', param: 'prompt' });
});
