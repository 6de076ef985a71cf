// Every byte string becomes a value or a clean refusal, and what was odd has the outcome that json.ts promises.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../core/errors.ts';
import { isExactInteger, parseJson, stringifyLine } from './json.ts';
import { jsonFault } from './json-fault.ts';

/** Of Python's str.splitlines. */
const LINE_ENDS = ['\n', '\r', '\v', '\f', '\u001c', '\u001d', '\u001e', '\u0085', '\u2028', '\u2029'];

const parse = (text: string) => parseJson(new TextEncoder().encode(text));
const refusal = (text: string): GatewayError => {
  try {
    parse(text);
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError);
    assert.equal(thrown.code, 'invalid_request');
    return thrown;
  }
  return assert.fail(`not refused: ${text.slice(0, 40)}`);
};

for (const [text, message] of [
  ['', 'The body is empty: JSON is needed.'],
  [' \n', 'The body is empty: JSON is needed.'],
  ['{"a":', 'The body is not JSON: it ends too early.'],
  ['"open', 'The body is not JSON: it ends too early.'],
  ['tru', 'The body is not JSON: it ends too early.'],
  ['{"a":NaN}', 'The body is not JSON (position 5).'],
  ['Infinity', 'The body is not JSON (position 0).'],
  ['[-Infinity]', 'The body is not JSON (position 2).'],
  ['{"a":1 2}', 'The body is not JSON (position 7).'],
  ['{"a":secret}', 'The body is not JSON (position 5).'],
  ['at position 77', 'The body is not JSON (position 0).'],
  ["{'a':1}", 'The body is not JSON (position 1).'],
  ['[1,]', 'The body is not JSON (position 3).'],
  ['[01]', 'The body is not JSON (position 2).'],
  ['{"a":"\t"}', 'The body is not JSON (position 6).'],
  ['"\\x"', 'The body is not JSON (position 2).'],
  ['{9007199254740993:1}', 'The body is not JSON (position 1).'],
  ['{"a":1,9007199254740993 :1}', 'The body is not JSON (position 7).'],
  ['[09007199254740993]', 'The body is not JSON (position 2).'],
  ['[1e999]', 'The body holds a number that is out of range (position 1).'],
  [`[-${'9'.repeat(400)}]`, 'The body holds a number that is out of range (position 1).'],
] as const) {
  test(`refused, with the place and without the text: ${text.slice(0, 30)}`, () => {
    assert.equal(refusal(text).message, message);
  });
}

test('a million brackets are refused before they are parsed', () => {
  const started = performance.now();
  for (const text of ['['.repeat(1e6), '{"a":'.repeat(1e6), `${'['.repeat(1e6)}${']'.repeat(1e6)}`]) {
    assert.match(refusal(text).message, /nested deeper than 128/);
  }
  assert.ok(performance.now() - started < 1_000);
});

test('brackets in a text are no depth', () => {
  for (const text of ['['.repeat(500), `\\"${'{'.repeat(500)}`, `${'['.repeat(300)}\\\\`]) {
    assert.equal(typeof parse(`"${text}"`), 'string');
  }
  assert.deepEqual(
    parse(`${'['.repeat(128)}${']'.repeat(128)}`),
    JSON.parse(`${'['.repeat(128)}${']'.repeat(128)}`),
  );
});

test('a byte order mark is skipped, invalid UTF-8 becomes U+FFFD', () => {
  assert.deepEqual(parse('\ufeff{"a":1}'), { a: 1 });
  assert.deepEqual(parseJson(Buffer.from([0x22, 0xff, 0xe9, 0x87, 0x22])), '\ufffd\ufffd');
});

test('half surrogate pairs become U+FFFD, in keys and deep inside; whole pairs stay', () => {
  assert.deepEqual(parse('{"a\\ud83d":["x\\uDE00",{"b":"\\ud83d\\ude00"}]}'), {
    'a\ufffd': ['x\ufffd', { b: '😀' }],
  });
});

test('of a key that comes twice the last counts', () => {
  assert.deepEqual(parse('{"a":1,"a":{"b":2,"b":3}}'), { a: { b: 3 } });
});

test('NUL is text', () => {
  assert.equal(parse('"a\\u0000b"'), 'a\0b');
});

test('a member named __proto__ changes no object', () => {
  for (const text of [
    '{"__proto__":{"polluted":1}}',
    '{"__proto__":{"polluted":"\\ud83d"},"x":9007199254740993}',
  ]) {
    const value = parse(text) as { polluted?: unknown };
    assert.equal(value.polluted, undefined);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  }
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});

test('integers keep their digits, other numbers are numbers', () => {
  const text =
    '{"a":[9007199254740993,-2512292042121000001],"b":"9007199254740993","c":{"d":9223372036854775807}}';
  const value = parse(text) as { a: unknown[]; b: unknown };
  assert.equal(JSON.stringify(value), text);
  assert.ok(isExactInteger(value.a[0]));
  assert.equal(value.a[0].rawJSON, '9007199254740993');
  assert.equal(JSON.stringify(parse('30352021391449912')), '30352021391449912');
  assert.equal(value.b, '9007199254740993');
  assert.deepEqual(
    parse('[1e18,1000000000000000000,100.0,-0.12345678901234567890,1E-400,9007199254740992]'),
    [1e18, 1e18, 100, -0.12345678901234568, 0, 9007199254740992],
  );
});

test('what JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (text) => {
      assert.deepEqual(parse(text), JSON.parse(text));
    }),
  );
});

test('every integer keeps its digits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }), fc.json(), (integer, text) => {
      const written = JSON.stringify(parse(`[ ${integer}\n,${text}]`));
      assert.equal(written, `[${integer},${JSON.stringify(JSON.parse(text))}]`);
    }),
  );
});

test('arbitrary bytes give a value or a GatewayError', () => {
  const pieces = fc.constantFrom(
    '[',
    ']',
    '{',
    '}',
    '"',
    ':',
    ',',
    '\\',
    'u',
    '\\ud83d',
    '1',
    '-',
    'e9',
    '9'.repeat(17),
    ' ',
  );
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.array(pieces).map((all) => Buffer.from(all.join(''))),
  );
  fc.assert(
    fc.property(bytes, (some) => {
      try {
        parseJson(some);
      } catch (thrown) {
        assert.ok(thrown instanceof GatewayError, String(thrown));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a text has a fault exactly if JSON.parse refuses it', () => {
  const pieces = fc.constantFrom(
    '[',
    ']',
    '{',
    '}',
    '"',
    '"a"',
    ':',
    ',',
    '\\',
    '\\n',
    '1',
    '-0',
    '.5',
    'e9',
    'true',
    ' ',
    'nul',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        fc.array(pieces, { maxLength: 8 }).map((all) => all.join('')),
      ),
      (text) => {
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        const refused = (() => {
          try {
            parse(text);
            return false;
          } catch {
            return true;
          }
        })();
        assert.equal(refused, !isJson);
        // What comes before the place is the beginning of some JSON text, so the place is never behind V8's.
        assert.ok(jsonFault(text) <= text.length);
        if (isJson) assert.equal(jsonFault(text), text.length);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a line of ours holds nothing that a reader of lines would split on', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const line = stringifyLine({ [text]: text });
      for (const end of LINE_ENDS) assert.ok(!line.includes(end), line);
      assert.deepEqual(JSON.parse(line), { [text]: text });
    }),
  );
  assert.equal(stringifyLine('\u0085\u2028\u2029\u009f\u000b量'), '"\\u0085\\u2028\\u2029\\u009f\\u000b量"');
});
