// Guards the reading of metrics: the wanted ones and no others, whatever their labels hold.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readMetrics } from './prometheus-text.ts';

const values = (text: string, name = 'a:b') => readMetrics(text, [name]).get(name);

test('values over all labels, with and without labels and times', () => {
  const text = [
    '# HELP a:b running',
    '# TYPE a:b gauge',
    'a:b{engine="0",model_name="m"} 3.0',
    'a:b{engine="1",model_name="a } b \\" c { 9 \\\\"} 4 1700000000000',
    'a:b 0.5\r',
    'a:b\t1e2',
    'a:b_total 77',
    'xa:b 88',
    'a:b{cut="',
    'a:b NaN',
    'a:b +Inf',
    'a:b',
    'a:b{}2',
  ].join('\n');
  assert.deepEqual(values(text), [3, 4, 0.5, 100, 2]);
});

test('what is not there has no values', () => {
  const metrics = readMetrics('', ['a', 'b']);
  assert.deepEqual(
    [...metrics],
    [
      ['a', []],
      ['b', []],
    ],
  );
  assert.deepEqual(values('<html>a:b 1</html>'), []);
});

test('labels of any text do not hide a value', () => {
  const escaped = (text: string) => text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n');
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'"\\{} \n,=#a量') }), fc.integer(), (label, value) => {
      assert.deepEqual(values(`a:b{x="${escaped(label)}",y="1"} ${value}\n`), [value]);
    }),
  );
});
