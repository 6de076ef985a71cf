// What other servers send as JSON: Python's numbers are read, depth is bounded, digits are kept where they are asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../core/errors.ts';
import { itemsOf, membersOf, parseExactly, parseUpstream } from './upstream-json.ts';

const long = ' '.repeat(20_000);
const refusal = (parse: (text: string) => unknown, text: string): string => {
  try {
    parse(text);
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError);
    assert.equal(thrown.code, 'backend_failed');
    return thrown.message;
  }
  return assert.fail('it was read');
};

for (const parse of [parseUpstream, parseExactly]) {
  test(`${parse.name}: numbers that JSON has no word for are null, strings that hold the words stay`, () => {
    for (const [text, value] of [
      ['{"a":NaN,"b":[-Infinity,Infinity]}', { a: null, b: [null, null] }],
      [
        '{"NaN":"-Infinity","b":"Infinity \\" NaN","c":NaN}',
        { NaN: '-Infinity', b: 'Infinity " NaN', c: null },
      ],
      ['{"a":"\\\\","b":NaN,"c":-1.5}', { a: '\\', b: null, c: -1.5 }],
      ['NaN', null],
      ['{"a":"NaN"}', { a: 'NaN' }],
    ] as const) {
      assert.deepEqual(parse(text), value);
      assert.deepEqual(parse(long + text), value);
    }
  });

  test(`${parse.name}: what is no JSON is refused without being repeated`, () => {
    for (const text of [
      '',
      ' ',
      '{"a":',
      '<html>secret</html>',
      '{"a":secret}',
      '{"a":NaNa}',
      '"open NaN',
      '{"a":nan}',
    ]) {
      assert.equal(refusal(parse, text), 'The back end sent something that is no JSON.');
      assert.equal(refusal(parse, long + text), 'The back end sent something that is no JSON.');
    }
  });

  test(`${parse.name}: a depth of 10,000 is refused, whatever is around it`, () => {
    const deep = '['.repeat(10_000) + ']'.repeat(10_000);
    for (const text of [deep, `{"choices":[],"x":${deep}}`, '{"a":'.repeat(10_000), '['.repeat(1_000_000)]) {
      assert.equal(
        refusal(parse, text),
        'The back end sent JSON that is nested too deep, or holds a number out of range.',
      );
    }
    const brackets = '['.repeat(10_000);
    assert.deepEqual(parse(JSON.stringify({ a: brackets })), { a: brackets });
  });

  test(`${parse.name}: what JSON.stringify writes is read back`, () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        assert.deepEqual(parse(text), JSON.parse(text));
      }),
    );
  });
}

test('integers keep their digits where they are asked for', () => {
  const text = '{"id":2512292042121000001,"b":[-9007199254740993,NaN]}';
  const kept = '{"id":2512292042121000001,"b":[-9007199254740993,null]}';
  assert.equal(JSON.stringify(parseExactly(text)), kept);
});

test('a value that is of another kind has no members and no items', () => {
  for (const value of [null, undefined, 1, 'text', true]) {
    assert.deepEqual(membersOf(value), {});
    assert.deepEqual(itemsOf(value), []);
  }
  assert.deepEqual(membersOf([1]), {});
  assert.deepEqual(itemsOf({ a: 1 }), []);
  assert.deepEqual(membersOf({ a: 1 }), { a: 1 });
  assert.deepEqual(itemsOf([1]), [1]);
});
