// Guards what a conversation may lose: never the system's words nor the last turn, never half of a turn, nothing while it is
// within the budget; and that the same beginning goes for as many turns as can be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Message, Prompt } from '../core/chat.ts';
import { trimmedPrompt } from './trim-history.ts';

const UNITS_PER_TOKEN = 3;

/** 30 characters, of which the first tell which message it is: 10 tokens. */
const words = (name: string) => name.padEnd(30, '.');
const say = (role: Message['role'], name: string, rest: Partial<Message> = {}): Message => ({
  role,
  content: words(name),
  ...rest,
});
const call = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });

/** The names of the messages that are left. */
function namesAfter(messages: readonly Message[], maxTokens: number): string[] {
  const trimmed = trimmedPrompt({ kind: 'messages', messages }, maxTokens);
  const left = trimmed?.kind === 'messages' ? trimmed.messages : messages;
  return left.map(({ content }) => String(content).replaceAll('.', ''));
}

const turns = (count: number) =>
  Array.from({ length: count }, (_, turn) => [say('user', `u${turn}`), say('assistant', `a${turn}`)]).flat();

test('the oldest turns go first, question and answer together; the system message stays', () => {
  const messages = [say('system', 's'), ...turns(4), say('user', 'last')];
  assert.deepEqual(namesAfter(messages, 100), namesAfter(messages, Infinity), 'it fits');
  assert.deepEqual(namesAfter(messages, 80), ['s', 'u2', 'a2', 'u3', 'a3', 'last']);
  assert.deepEqual(namesAfter(messages, 40), ['s', 'u3', 'a3', 'last']);
  assert.deepEqual(namesAfter(messages, 1), ['s', 'last']);
});

test('instructions stay wherever they stand', () => {
  const messages = [say('system', 's'), ...turns(2), say('developer', 'd'), ...turns(1), say('user', 'last')];
  assert.deepEqual(namesAfter(messages, 1), ['s', 'd', 'last']);
});

test('a call goes and stays with its result, and the last turn with all its calls', () => {
  const messages = [
    say('user', 'u0'),
    say('assistant', 'a0', { toolCalls: [call('x')] }),
    say('tool', 'r0', { toolCallId: 'x' }),
    say('assistant', 'b0'),
    say('user', 'last'),
    say('assistant', 'a1', { toolCalls: [call('x')] }),
    say('tool', 'r1', { toolCallId: 'x' }),
  ];
  assert.deepEqual(namesAfter(messages, 1), ['last', 'a1', 'r1']);
});

test('a result that comes a turn late ties the turns together', () => {
  const messages = [
    ...turns(1),
    say('user', 'u1'),
    say('assistant', 'a1', { toolCalls: [call('x')] }),
    say('user', 'last'),
    say('tool', 'r1', { toolCallId: 'x' }),
  ];
  assert.deepEqual(namesAfter(messages, 1), ['u1', 'a1', 'last', 'r1']);
});

test('what a user says in a row is one turn; what comes before any user is the oldest', () => {
  const messages = [say('assistant', 'hello'), ...turns(1), say('user', 'context'), say('user', 'question')];
  assert.deepEqual(namesAfter(messages, 1), ['context', 'question']);
  assert.deepEqual(namesAfter(messages, 49), ['context', 'question']);
  assert.deepEqual(namesAfter([say('assistant', 'alone')], 1), ['alone']);
});

test('calls and thoughts count as what a template shows of them', () => {
  const long = { reasoning: 'x'.repeat(300), toolCalls: [call('y'.repeat(300))] };
  const messages = [say('user', 'u0'), say('assistant', 'a0', long), say('user', 'last')];
  assert.deepEqual(namesAfter(messages, 200), ['last']);
});

test('text as it stands is not touched', () => {
  assert.equal(trimmedPrompt({ kind: 'text', text: 'x'.repeat(1_000) }, 1), undefined);
});

test('as a conversation grows, its beginning stays the same for several turns at a time', () => {
  let changes = 0;
  let before = '';
  for (let count = 1; count <= 100; count += 1) {
    const names = namesAfter([say('system', 's'), ...turns(count), say('user', 'last')], 400);
    assert.ok(names.length * 10 <= 400);
    assert.ok(count < 20 || names.length * 10 >= 180, 'no more goes than half of the budget');
    if (names[1] !== before) changes += 1;
    before = names[1]!;
  }
  assert.ok(changes <= 12, `${changes} beginnings in 100 turns`);
});

const anyMessage: fc.Arbitrary<Message> = fc.record({
  role: fc.constantFrom('system', 'developer', 'user', 'user', 'assistant', 'assistant', 'tool' as const),
  content: fc.string({ maxLength: 60 }),
  toolCalls: fc.option(fc.array(fc.constantFrom('x', 'y', 'z').map(call), { minLength: 1, maxLength: 2 }), {
    nil: undefined,
  }),
  toolCallId: fc.option(fc.constantFrom('x', 'y', 'z', 'nobody'), { nil: undefined }),
});

test('whatever the conversation: nothing new, in order, instructions and the last turn whole, no call without its result', () => {
  fc.assert(
    fc.property(
      fc.array(anyMessage, { maxLength: 40 }),
      fc.integer({ min: 1, max: 200 }),
      (messages, maxTokens) => {
        const prompt: Prompt = { kind: 'messages', messages };
        const trimmed = trimmedPrompt(prompt, maxTokens);
        const length = messages.reduce((sum, { content }) => sum + String(content).length, 0);
        if (trimmed === undefined) return;
        assert.ok(trimmed.kind === 'messages');
        const kept = new Set(trimmed.messages);
        assert.deepEqual(
          trimmed.messages,
          messages.filter((message) => kept.has(message)),
          'the same, in order',
        );
        assert.ok(kept.size < messages.length);
        for (const message of messages) {
          if (message.role === 'system' || message.role === 'developer') assert.ok(kept.has(message));
        }
        const lastUser = messages.findLastIndex(({ role }) => role === 'user');
        for (const message of messages.slice(Math.max(0, lastUser))) assert.ok(kept.has(message));
        const callers = new Map<string, Message>();
        for (const message of messages) {
          for (const { id } of (message.toolCalls ?? []) as { id: string }[]) callers.set(id, message);
          const caller = message.toolCallId === undefined ? undefined : callers.get(message.toolCallId);
          const isBound = caller && caller !== message && ![caller, message].some(isInstruction);
          if (isBound) assert.equal(kept.has(caller), kept.has(message), 'a call and its result');
        }
        const isShort = length + JSON.stringify(messages).length < maxTokens * UNITS_PER_TOKEN;
        assert.ok(!isShort, 'it was within the budget');
      },
    ),
    { numRuns: 500 },
  );
});

test('a conversation of many thousand messages takes no more than its length', () => {
  const messages = Array.from(
    { length: 50_000 },
    (_, place): Message =>
      place % 2 === 0
        ? say('user', 'u')
        : say('tool', 'r', { toolCallId: 'x', toolCalls: place === 1 ? [call('x')] : undefined }),
  );
  assert.equal(
    trimmedPrompt({ kind: 'messages', messages }, 1),
    undefined,
    'all of it hangs on the first call',
  );
});

function isInstruction({ role }: Message): boolean {
  return role === 'system' || role === 'developer';
}
