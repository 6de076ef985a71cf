// Guards the curves that come with Sluice and those that users bring: what is wrong with one is told by its name.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../config.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { ConfigError } from './config-error.ts';
import { ownCurves, readCurve } from './curve-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-curves-'));
after(() => rmSync(folder, { recursive: true }));

const GOOD = {
  name: 'mine',
  origin: 'measured here',
  slots: 4,
  decode_ms: [[1, 10]],
  prefill_ms: [
    [1, 5],
    [64, 50],
  ],
  prompts: 'one',
  slice_tokens: 64,
  cache_tokens: 4096,
};

function complaint(values: unknown): string {
  writeFileSync(join(folder, 'wrong.json'), JSON.stringify(values));
  try {
    readCurve('./wrong.json', folder);
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, `${thrown}`);
    return thrown.message;
  }
  assert.fail('taken without complaint');
}

test('every curve that comes with Sluice is good, bears its name and says where it is from', () => {
  const names = ownCurves();
  assert.ok(names.length >= 3);
  for (const name of names) {
    const curve: StepCurve = readCurve(name, folder);
    assert.equal(curve.name, name);
    assert.match(curve.origin, /^(Measured|Worked out|Assumed)/);
  }
});

test('a curve of a file is what a back end takes, found from the folder of who names it', () => {
  writeFileSync(join(folder, 'mine.json'), JSON.stringify(GOOD));
  assert.deepEqual(readCurve('./mine.json', folder), {
    name: 'mine',
    origin: 'measured here',
    slots: 4,
    decodeMs: [[1, 10]],
    prefillMs: [
      [1, 5],
      [64, 50],
    ],
    prompts: 'one',
    sliceTokens: 64,
    cacheTokens: 4096,
    continues: undefined,
  });
});

test('what is wrong with a curve is told', () => {
  assert.match(complaint({ ...GOOD, slots: 0 }), /wrong\.json is wrong: "slots"/);
  assert.match(complaint({ ...GOOD, decode_ms: [] }), /"decode_ms"/);
  const falling = [
    [8, 10],
    [4, 20],
  ];
  assert.match(complaint({ ...GOOD, decode_ms: falling }), /"decode_ms" .*first numbers rise/);
  const ending = [
    [1, 20],
    [64, 10],
  ];
  assert.match(complaint({ ...GOOD, prefill_ms: ending }), /"prefill_ms" .*not below/);
  assert.match(complaint({ ...GOOD, speed: 3 }), /speed/);
  assert.throws(
    () => readCurve('gpu-9000', folder),
    /no curve "gpu-9000": it is one of embedded-q8, gpu-8b, .*\.\/gpu-9000/,
  );
  assert.throws(() => readCurve('./nowhere.json', folder), /nowhere\.json cannot be read: ENOENT/);
});

test('a scripted back end takes its times and its slots from a curve', () => {
  writeFileSync(join(folder, 'mine.json'), JSON.stringify(GOOD));
  const load = (fake: object) => {
    const file = join(folder, 'config.json');
    writeFileSync(file, JSON.stringify({ backends: [{ kind: 'fake', ...fake }] }));
    const [backend] = loadConfig({ config: file }, {}).backends!;
    assert.ok(backend?.kind === 'fake');
    return backend;
  };
  assert.equal(load({}).slots, 8);
  assert.equal(load({}).curve, undefined);
  assert.equal(load({ curve: './mine.json' }).slots, 4);
  assert.equal(load({ curve: './mine.json', slots: 2 }).slots, 2);
  assert.equal(load({ curve: 'vllm-cpu' }).curve?.name, 'vllm-cpu');
  assert.throws(
    () => load({ curve: 'none' }),
    /backends\[0\]\.curve".*:1:\d+ is wrong: There is no curve "none"/,
  );
});
