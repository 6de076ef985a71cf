// Holds the reader of server-sent events against a simple one that sees the whole text at once, at every cut of the bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../core/errors.ts';
import { EventStreamReader, MAX_EVENT_BYTES } from './event-stream-reader.ts';

type Event = readonly [data: string, event: string];

/** `sizes`: of the pieces, again and again. */
function read(bytes: Uint8Array, sizes: readonly number[], maxEventBytes = MAX_EVENT_BYTES): Event[] {
  const events: Event[] = [];
  const reader = new EventStreamReader({
    onEvent: (data, event) => events.push([data, event]),
    maxEventBytes,
  });
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = Math.max(1, sizes[turn % sizes.length]!);
    reader.push(bytes.subarray(at, at + size));
    at += size;
  }
  reader.end();
  return events;
}

/** The rules, with no regard to time and memory. */
function reference(text: string): Event[] {
  const events: Event[] = [];
  let data: string[] = [];
  let name = '';
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  // What stands behind the last line end is a line too, and the end of the text ends an event.
  for (const line of [...lines, '']) {
    if (line !== '') {
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      if (field === 'event') name = value;
      continue;
    }
    if (data.join('\n') !== '') events.push([data.join('\n'), name]);
    data = [];
    name = '';
  }
  return events;
}

const encode = (text: string) => new TextEncoder().encode(text);

const CASES: readonly (readonly [name: string, text: string, events: readonly Event[]])[] = [
  [
    'line feeds',
    'data: a\n\ndata: b\n\n',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  [
    'CR and LF, no space',
    'data:a\r\n\r\ndata:b\r\n\r\n',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  [
    'only CR',
    'data: a\r\rdata: b\r\r',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  [
    'mixed line ends',
    'data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r',
    [
      ['a\nb\nc', ''],
      ['d', ''],
    ],
  ],
  ['one mark is dropped, others are text', '\ufeffdata: \ufeffa\n\n\ufeffdata: b\n\n', [['\ufeffa', '']]],
  ['one space is dropped, others are text', 'data:  a \n\n', [[' a ', '']]],
  ['several lines of data', 'data: {\ndata:  "a": 1\ndata: }\n\n', [['{\n "a": 1\n}', '']]],
  ['a line of data without a colon', 'data: a\ndata\ndata: b\n\n', [['a\n\nb', '']]],
  ['blocks without data', ': hi\n\nretry: 3\n\nid: 7\n\nevent: x\n\ndata:\n\ndata\n\n\n\n: bye\n', []],
  [
    'a comment between',
    'data: a\n: ping\n\n: ping\n\nid: 8\ndata: b\n\n',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  [
    'names',
    'event: ping\ndata: a\n\ndata: b\n\ndata: c\nevent:x\n\n',
    [
      ['a', 'ping'],
      ['b', ''],
      ['c', 'x'],
    ],
  ],
  ['the last name counts', 'event: a\nevent\ndata: b\n\n', [['b', '']]],
  ['a name goes with its block', 'event: a\n\ndata: b\n\n', [['b', '']]],
  ['fields that nobody knows', 'dat: a\ndatax: b\n data: c\nDATA: d\ndata : e\n\n', []],
  [
    'no last blank line',
    'data: a\n\ndata: b\n',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  [
    'no last line end',
    'data: a\n\ndata: b',
    [
      ['a', ''],
      ['b', ''],
    ],
  ],
  ['characters of every length', 'data: é量😀\u2028\n\n', [['é量😀\u2028', '']]],
  ['nothing', '', []],
  ['a mark and nothing', '\ufeff', []],
];

for (const [name, text, events] of CASES) {
  test(`${name}: at every pair of cuts`, () => {
    const bytes = encode(text);
    assert.deepEqual(reference(text), events, 'the reference itself');
    assert.deepEqual(read(bytes, [1]), events, 'byte by byte');
    for (let a = 0; a <= bytes.length; a += 1) {
      for (let b = a; b <= bytes.length; b += 1) {
        assert.deepEqual(read(bytes, [a, b - a, bytes.length]), events, `cut at ${a} and ${b}`);
      }
    }
  });
}

test('any stream, cut in any way, is read as the reference reads it', () => {
  const words = fc.constantFrom(
    ...['\n', '\r', '\r\n', '\n\n', '\r\r', '\r\n\r\n'],
    ...['data:', 'data: ', 'data', 'event:', 'event: ', 'event', 'id: 1', 'retry: 2', ': c', ':', ' ', 'x'],
    ...['{"a":1}', '[DONE]', 'é', '量', '😀', '\ufeff', '\u0085', '\0'],
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 40 }), fc.array(fc.nat(9), { minLength: 1 }), (all, sizes) => {
      const text = all.join('');
      assert.deepEqual(read(encode(text), sizes), reference(text));
    }),
    { numRuns: 5_000 },
  );
});

test('bytes that are no UTF-8 become U+FFFD, at every cut', () => {
  const bytes = Buffer.concat([Buffer.from('data: a'), Buffer.from([0xe9, 0x87, 0xff]), Buffer.from('\n\n')]);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    assert.deepEqual(read(bytes, [cut, bytes.length]), [['a\ufffd\ufffd', '']]);
  }
});

test('a line end that is certain is acted on at once', () => {
  const events: string[] = [];
  const reader = new EventStreamReader({ onEvent: (data) => events.push(data), maxEventBytes: 100 });
  reader.push(encode('data: a\r'));
  reader.push(encode('\r'));
  assert.deepEqual(events, ['a']);
  reader.push(encode('\ndata: b\n\ndata: c\r\n\r'));
  assert.deepEqual(events, ['a', 'b', 'c']);
  reader.push(encode('\ndata: d'));
  reader.end();
  assert.deepEqual(events, ['a', 'b', 'c', 'd']);
});

test('an event as large as a picture passes whole, however it is cut', () => {
  const data = '0123456789'.repeat(150_000);
  const bytes = encode(`data: ${data}\n\ndata: next\n\n`);
  for (const size of [1_000, 65_536, bytes.length]) {
    assert.deepEqual(read(bytes, [size]), [
      [data, ''],
      ['next', ''],
    ]);
  }
});

test('an event past its bound is refused, and the cut does not matter', () => {
  const refused = (text: string, sizes: readonly number[]) => {
    try {
      read(encode(text), sizes, 1_000);
      return false;
    } catch (thrown) {
      assert.ok(thrown instanceof GatewayError);
      assert.equal(thrown.code, 'backend_failed');
      assert.equal(thrown.message, 'The back end sent an event of more than 1000 bytes.');
      return true;
    }
  };
  for (const sizes of [[1], [7], [5_000]]) {
    assert.equal(refused(`data: ${'x'.repeat(994)}\n\n`, sizes), false, 'up to the bound');
    assert.equal(refused(`data: ${'x'.repeat(995)}\n\n`, sizes), true, 'one line');
    assert.equal(refused(`data: ${'x'.repeat(995)}`, sizes), true, 'a line without an end');
    assert.equal(refused(`: ${'x'.repeat(1_000)}`, sizes), true, 'a comment without an end');
    assert.equal(refused('data: 123456789\n'.repeat(50), sizes), true, 'many lines');
    assert.equal(refused('data:\n'.repeat(50), sizes), true, 'many lines of nothing');
    assert.equal(
      refused(`data: ${'x'.repeat(900)}\n\n`.repeat(3), sizes),
      false,
      'one event after the other',
    );
    assert.equal(refused(': ping\n'.repeat(1_000), sizes), false, 'many comments');
  }
});

test('a slow drip is held in little more than its bytes', () => {
  const reader = new EventStreamReader({ onEvent: () => {}, maxEventBytes: MAX_EVENT_BYTES });
  const one = Buffer.from('x');
  const taken = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  const before = taken();
  reader.push(encode('data: '));
  for (let count = 0; count < 1_000_000; count += 1) reader.push(one);
  const grown = taken() - before;
  // A list of a million buffers would take three times this.
  assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes`);
  reader.end();
});

test('what the taker throws leaves the reader', () => {
  const error = new GatewayError('cancelled', 'Nobody reads this answer any more.');
  const reader = new EventStreamReader({
    onEvent: () => {
      throw error;
    },
    maxEventBytes: 100,
  });
  assert.throws(() => reader.push(encode('data: a\n\n')), error);
});
