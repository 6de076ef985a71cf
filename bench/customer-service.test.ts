// Checks the customers of the surge: the same ones for the same seed, some of whom ask what all ask.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { customersMessages } from './customer-service.ts';

const questions = (seed: number, count: number) =>
  Array.from({ length: count }, (_, customer) => customersMessages(seed, customer)[1]!.content);

test('the same seed brings the same customers, another brings others', () => {
  assert.deepEqual(questions(1, 50), questions(1, 50));
  assert.notDeepEqual(questions(1, 50), questions(2, 50));
});

test('about one in five asks one of four common questions; what the others ask, nobody else does', () => {
  const counts = new Map<string, number>();
  for (const question of questions(3, 1_000)) counts.set(question, (counts.get(question) ?? 0) + 1);
  const common = [...counts.values()].filter((count) => count > 10);
  assert.equal(common.length, 4);
  const asked = common.reduce((sum, count) => sum + count, 0);
  assert.ok(asked > 150 && asked < 250, `${asked} of 1,000`);
  assert.ok(counts.size > 750, 'numbers of orders tell the others apart');
});

test('one system message is the same for all', () => {
  const systems = new Set(
    Array.from({ length: 20 }, (_, customer) => customersMessages(4, customer)[0]!.content),
  );
  assert.equal(systems.size, 1);
});
