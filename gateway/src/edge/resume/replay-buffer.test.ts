// Guards what readers who come again get: the newest events, byte for byte, from any number on, within the bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReplayBuffer, type SharedMemory } from './replay-buffer.ts';

/** Memory that counts, up to a bound. */
class Memory implements SharedMemory {
  bytes = 0;
  readonly #most: number;

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  hasFor(bytes: number): boolean {
    return this.bytes + bytes <= this.#most;
  }

  add(bytes: number): void {
    this.bytes += bytes;
  }
}

function readAll(buffer: ReplayBuffer, from: number): string {
  const parts: Buffer[] = [];
  for (let batch = buffer.read(from); batch; batch = buffer.read(batch.next)) parts.push(batch.bytes);
  return Buffer.concat(parts).toString();
}

const event = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.integer({ min: 1, max: 9_000 }).map((length) => '量'.repeat(length)),
);

test('what is kept is read from any number on, as it was written, and the newest is always there', () => {
  fc.assert(
    fc.property(fc.array(fc.array(event)), fc.integer({ min: 4096, max: 60_000 }), (batches, maxBytes) => {
      const memory = new Memory();
      const buffer = new ReplayBuffer(maxBytes, memory);
      const all: string[] = [];
      for (const events of batches) {
        buffer.add(events);
        all.push(...events);
        assert.ok(buffer.first <= all.length - events.length + 1, 'what was added last is gone');
      }
      assert.equal(buffer.next, all.length + 1);
      assert.equal(memory.bytes, buffer.bytes);
      for (let from = buffer.first; from <= buffer.next; from += 1) {
        assert.equal(readAll(buffer, from), Buffer.from(all.slice(from - 1).join('')).toString());
      }
    }),
    { numRuns: 60 },
  );
});

test('it stays within its bound, and keeps most of what fits', () => {
  const buffer = new ReplayBuffer(64 * 1024, new Memory());
  const events = Array.from({ length: 5_000 }, (_, index) => `data: ${index} ${'x'.repeat(200)}\n\n`);
  for (const one of events) {
    buffer.add([one]);
    assert.ok(buffer.bytes <= 64 * 1024, `${buffer.bytes} bytes`);
  }
  const kept = readAll(buffer, buffer.first);
  assert.ok(kept.length > 0.8 * 64 * 1024, `only ${kept.length} bytes are kept`);
  assert.ok(buffer.first > 1);
});

test('an event that is larger than the bound is kept until the next one comes', () => {
  const buffer = new ReplayBuffer(4096, new Memory());
  buffer.add(['small', 'x'.repeat(10_000)]);
  assert.equal(readAll(buffer, 1), `small${'x'.repeat(10_000)}`);
  buffer.add(['y']);
  assert.equal(readAll(buffer, buffer.first), 'y');
});

test('where others have the memory it keeps what was added last only', () => {
  const buffer = new ReplayBuffer(1024 * 1024, new Memory(0));
  for (let index = 0; index < 100; index += 1) buffer.add(['x'.repeat(3_000)]);
  assert.ok(buffer.bytes <= 16 * 1024, `${buffer.bytes} bytes`);
  assert.ok(buffer.first > 95);
});

test('cleared, it holds nothing and still knows its numbers', () => {
  const memory = new Memory();
  const buffer = new ReplayBuffer(4096, memory);
  buffer.add(['a', 'b']);
  buffer.clear();
  assert.equal(memory.bytes, 0);
  assert.deepEqual([buffer.first, buffer.next, buffer.read(3)], [3, 3, undefined]);
});
