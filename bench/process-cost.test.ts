// What processes cost, read from the kernel: work is seen, and a child's is seen with its parent's and not as its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { cpuSecondsOf, cpuSecondsOfTree, rssOfTree, runSecondsOfTree } from './process-cost.ts';

const MEMORY_BYTES = 64 * 1024 * 1024;
/** Works until it has used so much processor time, takes memory, says so, and stays until its input ends. */
const BUSY = `
  while (process.cpuUsage().user < 150_000);
  globalThis.kept = Buffer.alloc(${MEMORY_BYTES}, 1);
  console.log('done');
  process.stdin.resume();
`;

test("a child's work and memory count for the tree, and not for its parent alone", async () => {
  const alone = cpuSecondsOf(process.pid);
  const tree = cpuSecondsOfTree(process.pid);
  const memory = rssOfTree(process.pid);
  const child = spawn(process.execPath, ['-e', BUSY], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    await once(child.stdout, 'data');
    const own = cpuSecondsOf(child.pid!);
    assert.ok(own >= 0.1, `the child has used ${own} s`);
    // The rests of ticks, and what it does meanwhile.
    const exact = runSecondsOfTree(child.pid!);
    assert.ok(Math.abs(exact - own) <= 0.1, `${exact} s instead of ${own}`);
    const grown = cpuSecondsOfTree(process.pid) - tree;
    const grownAlone = cpuSecondsOf(process.pid) - alone;
    assert.ok(grown - grownAlone >= 0.1, `the tree has used ${grown} s, its root ${grownAlone} s`);
    assert.ok(rssOfTree(process.pid) - memory >= MEMORY_BYTES / 2);
  } finally {
    child.stdin.end();
    await once(child, 'exit');
  }
  const after = cpuSecondsOfTree(process.pid) - tree;
  assert.ok(after >= 0.1, `of a child that has ended ${after} s are left`);
});

test('a process that is not there is an error, not 0', () => {
  assert.throws(() => cpuSecondsOf(2 ** 30));
  assert.throws(() => cpuSecondsOfTree(2 ** 30));
  assert.throws(() => runSecondsOfTree(2 ** 30));
});
