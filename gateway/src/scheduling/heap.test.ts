// Guards the heap against a sorted list, under any order of comings, goings and changes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Heap, type HeapItem } from './heap.ts';

interface Item extends HeapItem {
  value: number;
}

const action = fc.oneof(
  fc.record({ do: fc.constant('push' as const), value: fc.nat(100) }),
  fc.record({ do: fc.constant('remove' as const), which: fc.nat(40) }),
  fc.record({ do: fc.constant('move' as const), which: fc.nat(40), value: fc.nat(100) }),
);

test('the first is always the least, whoever comes, goes or changes', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const heap = new Heap<Item>((a, b) => a.value < b.value);
      const items: Item[] = [];
      for (const step of actions) {
        if (step.do === 'push') {
          const item = { value: step.value, heapIndex: -1 };
          items.push(item);
          heap.push(item);
        } else if (items.length > 0) {
          const index = step.which % items.length;
          const item = items[index]!;
          if (step.do === 'remove') {
            items.splice(index, 1);
            heap.remove(item);
            assert.equal(item.heapIndex, -1);
          } else {
            item.value = step.value;
            heap.moved(item);
          }
        }
        assert.equal(heap.size, items.length);
        assert.equal(
          heap.first?.value,
          items.length === 0 ? undefined : Math.min(...items.map((one) => one.value)),
        );
      }
    }),
  );
});

test('what is in no heap is not removed, and a cleared heap holds nobody', () => {
  const heap = new Heap<Item>((a, b) => a.value < b.value);
  const [one, two] = [
    { value: 1, heapIndex: -1 },
    { value: 2, heapIndex: -1 },
  ];
  heap.push(one);
  heap.remove(two);
  assert.equal(heap.size, 1);
  heap.clear();
  heap.remove(one);
  assert.deepEqual([heap.size, heap.first, one.heapIndex], [0, undefined, -1]);
});
