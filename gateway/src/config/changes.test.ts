// Guards what a reload says of itself: what has changed, and what of it only the next start takes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Config, loadConfig } from '../config.ts';
import { changesOf } from './changes.ts';

const of = (text: string): Config => loadConfig({ config: 'a.yaml' }, {}, text);

test('the same configuration read twice has not changed', () => {
  const text = 'keys: [{key: a, rpm: 5}]\nbackends: [{url: "http://h"}]\nengine: {batch_size: 3}\n';
  assert.deepEqual(changesOf(of(text), of(text)), { live: [], atRestart: [] });
});

test('models, back ends, keys and their patience are taken by a running server', () => {
  const before = of('keys: [{key: a}]\nbackends: [{url: "http://h"}]\n');
  const after = of(
    'keys: [{key: b}]\nbackends: [{url: "http://i"}]\nmodels: [{id: m}]\nsilence_limit_ms: 5\n',
  );
  const { live, atRestart } = changesOf(before, after);
  assert.deepEqual([...live].sort(), ['backends', 'keys', 'models', 'silence_limit_ms']);
  assert.deepEqual(atRestart, []);
});

test('all else waits for the next start, and settings of a section are named one by one', () => {
  const before = of('port: 1\nengine: {batch_size: 3, context: 512}\n');
  const after = of('port: 2\nengine: {batch_size: 4, context: 512, threads: 2}\nmodel: x\n');
  const { live, atRestart } = changesOf(before, after);
  assert.deepEqual(live, []);
  assert.deepEqual([...atRestart].sort(), ['engine.batch_size', 'engine.threads', 'model', 'port']);
});

test('the embedded engine neither comes nor goes while the server runs', () => {
  const { live, atRestart } = changesOf(of('port: 1'), of('port: 1\nbackends: [{url: "http://h"}]'));
  assert.deepEqual(live, ['backends']);
  assert.deepEqual(atRestart, ['backends (the embedded engine)']);
});
