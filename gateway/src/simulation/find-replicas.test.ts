// Guards the search for the fewest replicas that hold an objective, and what it says stands in the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findReplicas, hopelessReason, loneFirstTokenMs } from './find-replicas.ts';
import type { GroupReport, Report } from './report.ts';
import { simulate } from './simulate.ts';
import { arrival, CURVE, optionsFor } from './testing.ts';

const OBJECTIVE = { firstTokenMs: 500, unansweredPart: 0.01 };

/** What of a report the search looks at. */
function told(p99Ms: number | null, unanswered = 0): Report {
  const group = { name: 'interactive', firstToken: { p50Ms: null, p99Ms } } as GroupReport;
  const batch = { name: 'batch', firstToken: { p50Ms: null, p99Ms: 99_999 } } as GroupReport;
  return {
    classes: [group, batch],
    requests: 100,
    answered: 100 - unanswered,
    busyPart: 0.9,
    promptsPart: 0.5,
    fullPart: 0.25,
  } as unknown as Report;
}

test('the fewest that hold it are found in few trials, whatever their number', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 200 }), async (needed) => {
      const tried: number[] = [];
      const run = async (replicas: number) => {
        tried.push(replicas);
        return told(replicas >= needed ? 400 : 900);
      };
      const found = await findReplicas(run, OBJECTIVE, 256);
      assert.equal(found.replicas, needed);
      assert.ok(tried.length <= 2 * Math.ceil(Math.log2(needed + 1)) + 1, `${tried}`);
      assert.equal(new Set(tried).size, tried.length, 'none twice');
      assert.deepEqual(
        found.trials.map(({ replicas }) => replicas),
        tried.toSorted((a, b) => a - b),
      );
      if (needed > 1)
        assert.match(found.boundBy.join('; '), /interactive: P99 .* 900 ms; .*90 % .* 50 % .* 25 %/);
    }),
  );
});

test('that not even the most hold it is said, with what is missing', async () => {
  const found = await findReplicas(async () => told(null, 30), OBJECTIVE, 6);
  assert.equal(found.replicas, undefined);
  assert.deepEqual(
    found.trials.map(({ replicas }) => replicas),
    [1, 2, 4, 6],
  );
  assert.match(found.boundBy[0]!, /30\.0 % of the requests had no answer/);
});

test('prompts that are too long for an idle replica are named: no number would do', () => {
  const arrivals = [
    arrival(0, { promptTokens: 1000 }),
    arrival(1, { promptTokens: 90_000, priority: 'batch' }),
  ];
  assert.match(hopelessReason(arrivals, CURVE, OBJECTIVE)!, /1000 tokens \(P99\) takes 1100 ms/);
  assert.equal(hopelessReason([arrival(0)], CURVE, OBJECTIVE), undefined);
  assert.equal(hopelessReason(arrivals.slice(1), CURVE, OBJECTIVE), undefined);
});

test('what is said of an idle replica is what a simulated one takes', async () => {
  for (const promptTokens of [1, 99, 100, 250]) {
    const { ends } = await simulate(optionsFor([arrival(0, { promptTokens })]));
    assert.ok(Math.abs(ends[0]!.firstTokenMs! - loneFirstTokenMs(CURVE, promptTokens)) < 1e-9);
  }
});
