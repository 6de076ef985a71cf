// Guards simulated time: events in their order, each over with all its promises before the next, and none too many.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VirtualClock } from './virtual-clock.ts';

const never = () => false;

test('events happen by their time, and at one moment in the order in which they were asked for', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 40 }), async (times) => {
      const clock = new VirtualClock();
      const happened: [number, number][] = [];
      for (const [index, ms] of times.entries()) clock.after(ms, () => happened.push([clock.now(), index]));
      await clock.run(never);
      const expected = times.map((ms, index) => [ms, index]).sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!);
      assert.deepEqual(happened, expected);
    }),
  );
});

test('what an event sets going is over before the next one, however many promises it takes', async () => {
  const clock = new VirtualClock();
  const story: string[] = [];
  clock.after(1, async () => {
    for (let count = 0; count < 50; count += 1) await undefined;
    story.push(`first at ${clock.now()}`);
  });
  clock.after(2, () => story.push(`second at ${clock.now()}`));
  await clock.run(never);
  assert.deepEqual(story, ['first at 1', 'second at 2']);
});

test('an event that was taken back does not happen, and one that an event asks for does', async () => {
  const clock = new VirtualClock();
  const story: number[] = [];
  const takeBack = clock.after(1, () => assert.fail('taken back'));
  clock.after(0, () => {
    takeBack();
    clock.after(10, () => story.push(clock.now()));
    clock.after(-5, () => story.push(clock.now()));
  });
  await clock.run(never);
  assert.deepEqual(story, [0, 10]);
});

test('it stops when it is told that all is over, and takes no real time', async () => {
  const clock = new VirtualClock();
  let ticks = 0;
  const tick = () => {
    ticks += 1;
    clock.after(1000, tick);
  };
  tick();
  await clock.run(() => ticks === 3600);
  assert.equal(ticks, 3600);
});
