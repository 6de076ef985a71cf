// Guards what a seed makes of a bare trace: the same each time, parts as wanted, and conversations whose next turn begins
// with all of the one before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_TOKENS } from './simulated-backend.ts';
import { type Row, type WorkloadOptions, workload } from './workload.ts';

const OPTIONS: WorkloadOptions = {
  seed: 7,
  tenants: 4,
  mix: { interactive: 7, standard: 2, batch: 1 },
  turns: 0.5,
  systemTokens: 300,
};

const rows: Row[] = Array.from({ length: 4000 }, (_, index) => ({
  atMs: index * 100,
  promptTokens: 50 + ((index * 7919) % 3000),
  outputTokens: 1 + ((index * 104_729) % 400),
}));

test('the same seed gives the same requests, another seed others', () => {
  assert.deepEqual(workload(rows, OPTIONS), workload(rows, OPTIONS));
  assert.notDeepEqual(workload(rows, OPTIONS), workload(rows, { ...OPTIONS, seed: 8 }));
});

test('classes have their parts, tenants ask alike often, and lengths are those of the trace', () => {
  const arrivals = workload(rows, OPTIONS);
  const part = (of: string, name: 'priority' | 'tenant') =>
    arrivals.filter((arrival) => arrival[name] === of).length / arrivals.length;
  assert.ok(Math.abs(part('interactive', 'priority') - 0.7) < 0.03);
  assert.ok(Math.abs(part('batch', 'priority') - 0.1) < 0.02);
  for (let number = 1; number <= 4; number += 1)
    assert.ok(Math.abs(part(`tenant-${number}`, 'tenant') - 0.25) < 0.03);
  for (const [index, { promptTokens, outputTokens, atMs }] of arrivals.entries())
    assert.deepEqual({ atMs, promptTokens, outputTokens }, rows[index]);
});

test('what the trace says itself is kept', () => {
  const [own] = workload([{ ...rows[0]!, tenant: 'alice', priority: 'batch' }], OPTIONS);
  assert.deepEqual([own!.tenant, own!.priority], ['alice', 'batch']);
});

test("a conversation's next turn begins with its last prompt and answer; a tenant's prompts share their system message", () => {
  const arrivals = workload(rows, OPTIONS);
  const last = new Map<string, (typeof arrivals)[number]>();
  let turns = 0;
  for (const arrival of arrivals) {
    const before = last.get(arrival.session);
    if (before) {
      turns += 1;
      assert.equal(arrival.tenant, before.tenant);
      assert.ok(arrival.promptTokens > before.promptTokens + before.outputTokens);
      assert.deepEqual(arrival.blocks.slice(0, before.blocks.length), before.blocks);
    }
    last.set(arrival.session, arrival);
    assert.equal(
      arrival.blocks.length,
      Math.floor((arrival.promptTokens + arrival.outputTokens) / BLOCK_TOKENS),
    );
  }
  assert.ok(turns > arrivals.length * 0.3, `${turns}`);
  const [one, other] = [...last.values()].filter(
    ({ tenant, blocks }) => tenant === 'tenant-1' && blocks.length > 30,
  );
  const shared = Math.floor(300 / BLOCK_TOKENS);
  assert.deepEqual(one!.blocks.slice(0, shared), other!.blocks.slice(0, shared));
  assert.notEqual(one!.blocks[shared], other!.blocks[shared]);
  const foreign = arrivals.find(({ tenant, blocks }) => tenant === 'tenant-2' && blocks.length > 0);
  assert.notEqual(one!.blocks[0], foreign!.blocks[0], 'nothing is shared between tenants');
});

test('without turns every request is a conversation of its own', () => {
  const arrivals = workload(rows, { ...OPTIONS, turns: 0 });
  assert.equal(new Set(arrivals.map(({ session }) => session)).size, rows.length);
});
