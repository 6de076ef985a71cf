// Checks that the number of threads that is sooner done is found and kept, whatever single steps meet with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../load/seeded-random.ts';
import { ThreadRace } from './thread-race.ts';

/** How many of the steps each number did. */
function run(race: ThreadRace, steps: number, seconds: (threads: number, step: number) => number) {
  const done: Record<number, number> = { 1: 0, 2: 0 };
  for (let step = 0; step < steps; step += 1) {
    const { threads } = race;
    done[threads]! += 1;
    race.took(threads, seconds(threads, step));
  }
  return done;
}

test('the usual number stays where the other gains nothing, and is tried in few steps', () => {
  const { 2: tried } = run(new ThreadRace(1, 2), 2_000, (threads) => (threads === 2 ? 0.0195 : 0.02));
  assert.ok(tried! > 0 && tried! < 80, `${tried} steps`);
});

test('the other one is used where it is sooner, soon', () => {
  const { 1: usual } = run(new ThreadRace(1, 2), 2_000, (threads) => (threads === 2 ? 0.014 : 0.02));
  assert.ok(usual! < 80, `${usual} steps`);
});

test('what changes is found again', () => {
  const race = new ThreadRace(1, 2);
  run(race, 500, (threads) => (threads === 2 ? 0.014 : 0.02));
  run(race, 500, (threads) => (threads === 2 ? 0.03 : 0.02));
  const { 2: late } = run(race, 500, (threads) => (threads === 2 ? 0.03 : 0.02));
  assert.ok(late! < 40, `${late} steps`);
});

test('a step in ten that takes ten times as long decides nothing', () => {
  const random = seededRandom(3);
  const { 1: usual } = run(new ThreadRace(1, 2), 5_000, (threads) => {
    const seconds = threads === 2 ? 0.014 : 0.02;
    return random() < 0.1 ? seconds * 10 : seconds;
  });
  assert.ok(usual! < 400, `${usual} steps`);
});

test('a step by another number than was asked for is not counted', () => {
  const race = new ThreadRace(1, 2);
  for (let step = 0; step < 100; step += 1) race.took(2, 0.001);
  assert.equal(race.threads, 1);
});
