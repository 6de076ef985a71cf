// What is asked: of the lengths and beginnings wanted, the same again for the same seed, and read from files.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyOf, customPrompts, inTurn, randomPrompts, shareGptPrompts, strangersOf } from './prompts.ts';

const LENGTHS = { inputTokens: 30, outputTokens: 8 };
const random = (seed: number, prefixTokens = 0) =>
  randomPrompts({ seed, prefixTokens, lengthsOf: () => LENGTHS });
const wordsIn = (text: string) => text.split(' ').length;

test('random prompts have their lengths, and are the same for the same seed and number', () => {
  const prompts = random(1);
  const { messages, maxTokens } = prompts(3);
  assert.equal(wordsIn(messages[0]!.content), 30);
  assert.equal(maxTokens, 8);
  assert.deepEqual(random(1)(3), prompts(3));
  assert.notDeepEqual(random(2)(3), prompts(3));
  const texts = Array.from({ length: 500 }, (_, index) => prompts(index).messages[0]!.content);
  assert.equal(new Set(texts).size, 500);
});

test('a prefix comes first, as a system message, and is the same for all', () => {
  const prompts = random(1, 12);
  const [first, second] = [prompts(0).messages, prompts(1).messages];
  assert.equal(first[0]!.role, 'system');
  assert.equal(wordsIn(first[0]!.content), 12);
  assert.deepEqual(first[0], second[0]);
  assert.notDeepEqual(first[1], second[1]);
});

test('strangers have the form of the prompts, and not a beginning of theirs', () => {
  const prompts = random(1, 12);
  const strangers = strangersOf(prompts, 2);
  const [ours, theirs] = [prompts(3), strangers(3)];
  assert.equal(theirs.maxTokens, ours.maxTokens);
  assert.deepEqual(
    theirs.messages.map(({ role }) => role),
    ours.messages.map(({ role }) => role),
  );
  for (const [place, { content }] of theirs.messages.entries()) {
    const { length } = ours.messages[place]!.content;
    assert.ok(content.length > length / 2 && content.length < length * 2, `${content.length} for ${length}`);
  }
  const beginnings = (of: typeof prompts) =>
    Array.from({ length: 200 }, (_, index) => of(index).messages[0]!.content.slice(0, 20));
  const known = new Set(beginnings(prompts));
  assert.equal(
    beginnings(strangers).filter((one) => known.has(one)).length,
    0,
    'also where all of the load begin alike',
  );
  assert.deepEqual(strangers(3), strangersOf(prompts, 2)(3));
});

test('of ShareGPT the first question is asked, and its answer says how long', () => {
  const text = JSON.stringify([
    { conversations: [{ value: 'Why?' }, { value: 'x'.repeat(400) }, { value: 'And?' }] },
    { conversations: [{ value: 'Alone' }] },
    {},
  ]);
  const expected = { messages: [{ role: 'user', content: 'Why?' }], maxTokens: 100 };
  assert.deepEqual(shareGptPrompts(text, undefined), [expected]);
  assert.equal(shareGptPrompts(text, 7)[0]!.maxTokens, 7);
  assert.throws(() => shareGptPrompts('{}', undefined), /is no list/);
  assert.throws(() => shareGptPrompts('[{}]', undefined), /holds no conversation/);
});

test('custom prompts are a JSON object a line, as a text or as messages', () => {
  const messages = [{ role: 'user', content: 'b' }];
  const text = `{"prompt":"a"}\n\n${JSON.stringify({ messages, output_tokens: 5 })}\n`;
  assert.deepEqual(customPrompts(text, 9), [
    { messages: [{ role: 'user', content: 'a' }], maxTokens: 9 },
    { messages, maxTokens: 5 },
  ]);
  assert.throws(() => customPrompts('{"prompt":"a"}\n{"text":"b"}', 9), /line 2 has neither/);
  assert.throws(() => customPrompts('nonsense', 9), /line 1 is no JSON/);
  assert.throws(() => customPrompts('\n', 9), /holds no prompt/);
});

test('prompts of a file go round, in an order that the seed decides', () => {
  const prompts = Array.from({ length: 20 }, (_, index) => ({ messages: [], maxTokens: index + 1 }));
  const orderOf = (seed: number) => Array.from({ length: 20 }, (_, index) => inTurn(prompts, seed)(index));
  assert.deepEqual(orderOf(1), orderOf(1));
  assert.notDeepEqual(orderOf(1), orderOf(2));
  assert.equal(new Set(orderOf(1)).size, 20);
  assert.equal(inTurn(prompts, 1)(25), inTurn(prompts, 1)(5));
});

test('a body asks for a stream and for its usage, in the words of its route', () => {
  const prompt = { messages: [{ role: 'user', content: 'a' }], maxTokens: 3 };
  const options = { model: 'm', isChat: true };
  assert.deepEqual(JSON.parse(bodyOf(prompt, options)), {
    model: 'm',
    messages: prompt.messages,
    max_tokens: 3,
    stream: true,
    stream_options: { include_usage: true },
  });
  const other = {
    ...options,
    isChat: false,
    ignoresEos: true,
    temperature: 0,
    extra: { max_tokens: 4, top_p: 1 },
  };
  assert.deepEqual(JSON.parse(bodyOf(prompt, other)), {
    model: 'm',
    prompt: 'a',
    max_tokens: 4,
    temperature: 0,
    ignore_eos: true,
    top_p: 1,
    stream: true,
    stream_options: { include_usage: true },
  });
});
