import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReplayBuffer, type SharedMemory } from './replay-buffer.ts';

function endless(): SharedMemory & { held: number } {
  const memory = {
    held: 0,
    hasFor: () => true,
    add: (bytes: number) => {
      memory.held += bytes;
    },
  };
  return memory;
}

/** All that is kept from a number on, as a reader gets it. */
function readFrom(buffer: ReplayBuffer, from: number): string {
  const batches: Buffer[] = [];
  for (let batch = buffer.read(from); batch; batch = buffer.read(batch.next)) batches.push(batch.bytes);
  return Buffer.concat(batches).toString();
}

const event = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 });

test('a reader gets every event from any place on, however they were added', () => {
  fc.assert(
    fc.property(fc.array(fc.array(event, { maxLength: 5 }), { maxLength: 20 }), (heaps) => {
      const buffer = new ReplayBuffer(1024 * 1024, endless());
      for (const heap of heaps) buffer.add(heap);
      const all = heaps.flat();
      assert.equal(buffer.next, all.length + 1);
      for (let from = 1; from <= buffer.next; from += 1)
        assert.equal(readFrom(buffer, from), all.slice(from - 1).join(''));
    }),
  );
});

test('what is kept is the newest events without a gap, within the bound', () => {
  const most = 4096;
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 200 }), (events) => {
      const memory = endless();
      const buffer = new ReplayBuffer(most, memory);
      for (const one of events) {
        buffer.add([one]);
        // One event alone may be larger than its part, and is never more than 200 graphemes here.
        assert.ok(buffer.bytes <= Math.max(most, Buffer.byteLength(one)), `${buffer.bytes} bytes`);
        assert.equal(buffer.bytes, memory.held);
      }
      assert.equal(readFrom(buffer, buffer.first), events.slice(buffer.first - 1).join(''));
    }),
  );
});

test('events that are added together stay together, also over the bound', () => {
  const buffer = new ReplayBuffer(64, endless());
  buffer.add(['gone']);
  const heap = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(30));
  buffer.add(heap);
  assert.equal(buffer.first, 2);
  assert.equal(readFrom(buffer, 2), heap.join(''));
});

test('where the memory of all is used up, the oldest events make room', () => {
  const memory = endless();
  const buffer = new ReplayBuffer(1024 * 1024, { ...memory, hasFor: (bytes) => buffer.bytes + bytes <= 8192 });
  for (let number = 1; number <= 100; number += 1) buffer.add(['x'.repeat(1000)]);
  assert.ok(buffer.bytes <= 8192);
  assert.ok(buffer.first > 90);
  assert.equal(buffer.next, 101);
});

test('a buffer that is cleared gives all of its memory back', () => {
  const memory = endless();
  const buffer = new ReplayBuffer(1024, memory);
  buffer.add(['a', 'b']);
  buffer.clear();
  assert.equal(memory.held, 0);
  assert.equal(buffer.first, 3);
  assert.equal(buffer.read(3), undefined);
});
