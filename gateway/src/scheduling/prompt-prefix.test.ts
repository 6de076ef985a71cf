// Guards how prompts are compared: a longer conversation begins as its beginning does, however it was sent; a difference shows
// from its block on and never before; tenants have nothing in common; nothing is worked out unasked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ChatRequest, Message } from '../core/chat.ts';
import { promptPrefix } from './prompt-prefix.ts';

const text = (value: string): Pick<ChatRequest, 'prompt'> => ({ prompt: { kind: 'text', text: value } });
const talk = (...messages: Message[]): Pick<ChatRequest, 'prompt'> => ({
  prompt: { kind: 'messages', messages },
});
const user = (content: Message['content']): Message => ({ role: 'user', content });
const assistant = (content: Message['content']): Message => ({ role: 'assistant', content });
/** Of "s", its separator, and then the text. */
const SEEDED = 2;

test('a block is 256 bytes with what stands before it, and only whole ones count', () => {
  const blocksOf = (length: number) => promptPrefix(text('x'.repeat(length)), 's').blocks.length;
  assert.deepEqual([0, 253, 254, 509, 510].map(blocksOf), [0, 0, 1, 1, 2]);
  assert.equal(promptPrefix(text('汉'.repeat(170)), 's').blocks.length, 2, 'bytes, not characters');
});

test('a conversation begins as its earlier turns did', () => {
  const turns = [user('a'.repeat(700)), assistant('b'.repeat(300)), user('c'.repeat(100))];
  const before = promptPrefix(talk(...turns), 's').blocks;
  const after = promptPrefix(talk(...turns, assistant('d'.repeat(600)), user('e')), 's').blocks;
  assert.ok(before.length >= 4);
  assert.ok(after.length > before.length);
  assert.deepEqual(after.slice(0, before.length), before);
});

test('the form in which a text is sent makes no difference', () => {
  const long = 'abc'.repeat(300);
  const parts = [
    { type: 'text', text: long.slice(0, 100) },
    { type: 'text', text: long.slice(100) },
  ] as const;
  assert.deepEqual(promptPrefix(talk(user(long)), 's').blocks, promptPrefix(talk(user(parts)), 's').blocks);
});

test('who speaks, what is called, shown and offered makes one', () => {
  const base = user('x'.repeat(600));
  const tool = {
    name: 'f',
    parameters: undefined,
    isStrict: false,
    path: 'tools[0]',
    original: { name: 'f' },
  };
  const variants: Pick<ChatRequest, 'prompt' | 'tools'>[] = [
    talk(base),
    talk({ ...base, role: 'system' }),
    talk({ ...base, name: 'n' }),
    talk({ ...base, role: 'tool', toolCallId: 'id' }),
    talk({ ...base, toolCalls: [{ id: 'id' }] }),
    talk(
      user([
        { type: 'text', text: 'x'.repeat(600) },
        { type: 'other', kind: 'image_url', value: { url: 'u' } },
      ]),
    ),
    talk(user(null)),
    { ...talk(base), tools: [tool] },
    text('x'.repeat(600)),
  ];
  const wholes = new Set(variants.map((variant) => promptPrefix(variant, 's').whole));
  assert.equal(wholes.size, variants.length);
});

test('two tenants have no block in common, nor has one tenant in two models', () => {
  const blocks = (seed: string) => promptPrefix(text('x'.repeat(5_000)), seed).blocks;
  const one = new Set(blocks('one'));
  assert.ok(one.size > 15);
  assert.ok(blocks('two').every((block) => !one.has(block)));
});

test('a changed character shows in its block and in all behind it, and in none before', () => {
  const property = fc.property(fc.string({ minLength: 1, maxLength: 3_000 }), fc.nat(), (value, chance) => {
    const at = chance % value.length;
    // ASCII, so that a character is a byte.
    const before = value.replace(/[^ -~]/g, '~');
    const after = `${before.slice(0, at)}\u007f${before.slice(at + 1)}`;
    const [one, other] = [promptPrefix(text(before), 's'), promptPrefix(text(after), 's')];
    const changed = Math.floor((at + SEEDED) / 256);
    for (const [index, block] of one.blocks.entries()) {
      assert.equal(block === other.blocks[index], index < changed, `block ${index}, changed at ${at}`);
    }
    assert.notEqual(one.whole, other.whole);
  });
  fc.assert(property);
});

test('hashes are whole numbers of up to 53 bits, and alike by no more than chance', () => {
  const seen = new Set<number>();
  for (let count = 0; count < 100; count += 1) {
    for (const block of promptPrefix(text(`${count} `.repeat(20_000)), 's').blocks) {
      assert.ok(Number.isSafeInteger(block) && block >= 0);
      seen.add(block);
    }
  }
  const bits = [...seen].reduce((sum, block) => sum + (block / 2 ** 52 >= 1 ? 1 : 0), 0);
  assert.ok(seen.size > 15_000, `${seen.size} blocks`);
  assert.ok(
    bits > seen.size * 0.45 && bits < seen.size * 0.55,
    'the highest bit is set in about half of them',
  );
});

test('the blocks of one prompt are bounded, its whole is not', () => {
  const long = 'x'.repeat(2 ** 20 + 10_000);
  const [one, other] = [promptPrefix(text(`${long}a`), 's'), promptPrefix(text(`${long}b`), 's')];
  assert.equal(one.blocks.length, 4_096);
  assert.deepEqual(one.blocks, other.blocks);
  assert.notEqual(one.whole, other.whole);
});

test('nothing is read before it is asked for, and then once', () => {
  let reads = 0;
  const prompt = {
    kind: 'text' as const,
    get text() {
      reads += 1;
      return 'x'.repeat(600);
    },
  };
  const prefix = promptPrefix({ prompt }, 's');
  assert.equal(reads, 0);
  assert.equal(prefix.blocks.length, 2);
  assert.equal(typeof prefix.whole, 'number');
  assert.equal(reads, 1);
});
