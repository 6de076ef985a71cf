// Which piece belongs to which call, for every way in which servers number them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallNumbers, type NumberedCall, type UpstreamCall } from './call-numbers.ts';

type Piece = Partial<UpstreamCall>;
type Read = readonly [id: string, name: string | undefined, text: string];

function read(pieces: readonly Piece[]): Read[] {
  let ids = 0;
  const numbers = new CallNumbers(() => `made-${++ids}`);
  const calls: { id: string; name: string | undefined; text: string }[] = [];
  const take = (numbered: NumberedCall | undefined) => {
    if (!numbered) return;
    const { index, id, name } = numbered;
    if (index === calls.length) calls.push({ id: id!, name: undefined, text: '' });
    else assert.equal(id, undefined, 'an id is told once');
    const call = calls[index]!;
    if (name !== undefined) {
      assert.equal(call.name, undefined, 'a name is told once');
      call.name = name;
    }
    call.text += numbered.arguments;
  };
  for (const piece of pieces) take(numbers.take({ arguments: '', isWhole: false, ...piece }));
  assert.equal(numbers.hasCalls, calls.length > 0);
  assert.deepEqual(
    numbers.withoutArguments(),
    [...calls.keys()].filter((index) => calls[index]!.text.trim() === ''),
  );
  return calls.map(({ id, name, text }) => [id, name, text]);
}

const f = { name: 'f' };
const CASES: readonly (readonly [name: string, pieces: readonly Piece[], calls: readonly Read[]])[] = [
  [
    'as OpenAI numbers them',
    [
      { index: 0, id: 'a', ...f },
      { index: 0, arguments: '{"x"' },
      { index: 1, id: 'b', name: 'g' },
      { index: 1, arguments: '{}' },
      { index: 0, arguments: ':1}' },
    ],
    [
      ['a', 'f', '{"x":1}'],
      ['b', 'g', '{}'],
    ],
  ],
  [
    'numbers that begin anywhere and have holes',
    [
      { index: 3, id: 'a', ...f, arguments: '1' },
      { index: 7, id: 'b', ...f, arguments: '2' },
    ],
    [
      ['a', 'f', '1'],
      ['b', 'f', '2'],
    ],
  ],
  [
    'a new id at a used index is a new call, and the index is then its own',
    [
      { index: 0, id: 'a', ...f, arguments: '{"p"' },
      { index: 0, id: 'b', ...f, arguments: '{"q"' },
      { index: 0, arguments: ':2}' },
      { index: 0, id: 'a', arguments: ':1}' },
    ],
    [
      ['a', 'f', '{"p":1}'],
      ['b', 'f', '{"q":2}'],
    ],
  ],
  [
    'no ids: the index tells',
    [
      { index: 0, ...f, arguments: '{' },
      { index: 1, name: 'g', arguments: '{' },
      { index: 0, arguments: '}' },
      { index: 1, arguments: '}' },
    ],
    [
      ['made-1', 'f', '{}'],
      ['made-2', 'g', '{}'],
    ],
  ],
  [
    'no ids, one index: a name after whole arguments is a new call',
    [
      { index: 0, ...f, arguments: ' {"a":"}"}' },
      { index: 0, ...f, arguments: '{"b":2}' },
      { index: 0, name: 'g', arguments: '' },
      { index: 0, arguments: '[1]' },
    ],
    [
      ['made-1', 'f', ' {"a":"}"}'],
      ['made-2', 'f', '{"b":2}'],
      ['made-3', 'g', '[1]'],
    ],
  ],
  [
    'neither: the call last open',
    [{ ...f, arguments: '{' }, { arguments: '}' }, { name: 'g' }, { arguments: '{}' }],
    [
      ['made-1', 'f', '{}'],
      ['made-2', 'g', '{}'],
    ],
  ],
  [
    'a name in every piece',
    [
      { index: 0, ...f, arguments: '{"a"' },
      { index: 0, ...f, arguments: ':{}' },
      { index: 0, ...f, arguments: '}' },
      { index: 0, ...f },
    ],
    [['made-1', 'f', '{"a":{}}']],
  ],
  [
    'an empty id and an empty name are none',
    [
      { index: 0, id: 'a', ...f },
      { index: 0, id: '', name: '', arguments: '{}' },
      { index: 0, id: null, name: null },
    ],
    [['a', 'f', '{}']],
  ],
  [
    'an id of its own for every piece',
    [
      { index: 0, id: 'a', ...f },
      { index: 0, id: 'b', arguments: '{' },
      { index: 0, id: 'c', arguments: '}' },
    ],
    [['a', 'f', '{}']],
  ],
  [
    'an id that is told late is not told twice',
    [
      { index: 0, ...f },
      { index: 0, id: 'a', arguments: '{' },
      { id: 'a', arguments: '}' },
    ],
    [['made-1', 'f', '{}']],
  ],
  [
    'a name that is told late',
    [
      { index: 0, id: 'a' },
      { index: 0, ...f, arguments: '{}' },
    ],
    [['a', 'f', '{}']],
  ],
  ['pieces that say nothing', [{ index: 0 }, {}], []],
  [
    'whole calls are each their own, whatever they are called',
    [
      { ...f, arguments: '{}', isWhole: true },
      { ...f, arguments: '{}', isWhole: true },
      { index: 0, id: 'a', ...f, arguments: '{}', isWhole: true },
      { index: 0, id: 'a', ...f, arguments: '{}', isWhole: true },
    ],
    [
      ['made-1', 'f', '{}'],
      ['made-2', 'f', '{}'],
      ['a', 'f', '{}'],
      ['made-3', 'f', '{}'],
    ],
  ],
  [
    'a call without arguments',
    [
      { id: 'a', ...f },
      { id: 'a', arguments: ' ' },
    ],
    [['a', 'f', ' ']],
  ],
];

for (const [name, pieces, calls] of CASES) {
  test(name, () => assert.deepEqual(read(pieces), calls));
}

test('made-up ids look like others and differ', () => {
  const piece = { name: 'f', arguments: '{}', isWhole: true };
  const numbers = new CallNumbers();
  const ids = [numbers.take(piece)!.id!, numbers.take(piece)!.id!];
  for (const id of ids) assert.match(id, /^call_[0-9a-f]{24}$/);
  assert.notEqual(ids[0], ids[1]);
});
