// The words of the fake upstream: answers that any reader understands, and stamps that are counted however they are cut.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { heldPhase, holdMark, monotonicMs, PHASES, readStamps, stamp, textEvent } from './upstream-words.ts';

test('each stamp is counted once wherever a stream is cut, and its age is right or not taken', () => {
  const times = fc.array(fc.integer({ min: 0, max: 1e12 }), { maxLength: 20 });
  fc.assert(
    fc.property(times, fc.array(fc.nat(10_000), { maxLength: 10 }), (micros, cuts) => {
      const sentMs = micros.map((time) => time / 1_000);
      const bytes = Buffer.concat([
        Buffer.from('HTTP/1.1 200 OK\r\n\r\n'),
        ...sentMs.map((ms) => textEvent(stamp(ms))),
      ]);
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
      const ages: number[] = [];
      let count = 0;
      for (const [index, place] of places.slice(1).entries())
        count += readStamps(bytes.subarray(places[index], place), 2e9, ages);
      assert.equal(count, sentMs.length);
      const expected = sentMs.map((ms) => 2e9 - ms);
      assert.ok(ages.every((age) => expected.some((one) => Math.abs(one - age) < 0.01)));
      assert.ok(ages.length >= count - cuts.length, 'only where a cut is near may an age be left out');
    }),
  );
});

test('a prompt asks to be held in each phase, and others in none', () => {
  for (const phase of PHASES)
    assert.equal(heldPhase(JSON.stringify({ prompt: `a ${holdMark(phase)}` })), phase);
  assert.equal(heldPhase('{"prompt":"hold: JSON"}'), undefined);
  assert.equal(heldPhase(holdMark('other' as 'JSON')), undefined);
});

test('the clock goes forward', () => {
  const before = monotonicMs();
  assert.ok(monotonicMs() >= before);
});
