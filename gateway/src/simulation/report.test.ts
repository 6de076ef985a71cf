// Guards what a simulated load is said to have come to: what counts as good, as fair, as predicted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Histogram } from '../figures/histogram.ts';
import { jainsIndex, maxMinFair, report } from './report.ts';
import { reportPlot } from './report-plot.ts';
import { reportText } from './report-text.ts';
import type { Simulation } from './simulate.ts';
import type { RequestEnd } from './simulated-client.ts';
import { arrival, optionsFor } from './testing.ts';

function end(more: Partial<RequestEnd> = {}): RequestEnd {
  return {
    arrival: arrival(0),
    outcome: 'answered',
    asked: 1,
    askedAtMs: 0,
    queueMs: 5,
    firstTokenMs: 100,
    longestGapMs: 20,
    cachedTokens: 50,
    endedAtMs: 1000,
    ...more,
  };
}

function simulationOf(ends: readonly RequestEnd[], more: Partial<Simulation> = {}): Simulation {
  const gaps = new Histogram();
  gaps.add(20, 10);
  return {
    ends,
    gaps,
    busy: [{ promptsMs: 2000, answersMs: 3000, fullMs: 1000 }],
    queue: [{ atMs: 0, waiting: 0, running: 1 }],
    returned: { asked: 0, admitted: 0 },
    lastedMs: 10_000,
    ...more,
  };
}

const refused = (more: Partial<RequestEnd> = {}) =>
  end({ outcome: 'refused', queueMs: undefined, firstTokenMs: undefined, longestGapMs: 0, ...more });

test('an answer is good that began within the objective, never stood still for over 500 ms, and ended', () => {
  const batch = arrival(0, { priority: 'batch' });
  const ends = [
    end(),
    end({ firstTokenMs: 501 }),
    end({ longestGapMs: 501 }),
    end({ arrival: batch, firstTokenMs: 9000 }),
    end({ arrival: batch, longestGapMs: 501 }),
    refused({ refusedAs: 'overloaded' }),
    refused({ outcome: 'left', refusedAs: 'queue_timeout' }),
    end({ outcome: 'broken' }),
    end({ outcome: 'late', firstTokenMs: undefined }),
  ];
  const told = report(simulationOf(ends), optionsFor([]), 2);
  assert.deepEqual(
    [told.requests, told.answered, told.refused, told.left, told.late, told.broken, told.good],
    [9, 5, 1, 1, 1, 1, 2],
  );
  assert.deepEqual(told.refusals, { overloaded: 1, queue_timeout: 1 });
  assert.equal(told.goodPerSecond, 0.2);
  assert.deepEqual([told.busyPart, told.promptsPart, told.fullPart], [0.5, 0.2, 0.1]);
  assert.equal(told.cachedPart, 0.5);
  const hours = 10 / 3600;
  assert.ok(Math.abs(told.cost - 2 * hours) < 1e-4);
  assert.ok(
    Math.abs(told.costPerMillionGoodTokens! - (2 * hours * 1e6) / 20) < 1,
    'two answers of ten tokens',
  );
  assert.deepEqual(told.returned, { asked: 0, admittedPart: null });
  assert.deepEqual(
    told.classes.map(({ name, requests, good }) => [name, requests, good]),
    [
      ['interactive', 7, 1],
      ['batch', 2, 1],
    ],
  );
});

test('nothing that was not measured is told as a number', () => {
  const told = report(simulationOf([refused()], { gaps: new Histogram() }), optionsFor([]), 1);
  assert.deepEqual(told.firstToken, { p50Ms: null, p99Ms: null });
  assert.equal(told.costPerMillionGoodTokens, null);
  assert.equal(told.prediction, undefined);
  assert.doesNotMatch(JSON.stringify(told) + reportText(told), /NaN|Infinity|undefined/);
});

test('predictions are held against what came, where there was both', () => {
  const ends = [
    end({ predictedMs: 80 }),
    end({ predictedMs: 150 }),
    refused({ predictedMs: 900 }),
    end({ predictedMs: undefined }),
  ];
  assert.deepEqual(report(simulationOf(ends), optionsFor([]), 1).prediction, {
    calls: 2,
    error: { p1Ms: -49.3, p50Ms: -15, p99Ms: 19.3 },
  });
});

test('a flood that is held to its part is fair; one that takes the part of others is not', () => {
  const by = (tenant: string) => arrival(0, { tenant });
  const asked = (tenant: string, answered: number, refusedOnes: number) => [
    ...Array.from({ length: answered }, () => end({ arrival: by(tenant) })),
    ...Array.from({ length: refusedOnes }, () => refused({ arrival: by(tenant) })),
  ];
  const fair = [...asked('small', 10, 0), ...asked('flood', 10, 990)];
  assert.equal(report(simulationOf(fair), optionsFor([]), 1).fairness, 1);
  const unfair = [...asked('small', 1, 9), ...asked('flood', 19, 981)];
  assert.ok(report(simulationOf(unfair), optionsFor([]), 1).fairness < 0.7);
});

test('the max-min fair part gives all there is, nobody more than it wants, and the rest in equal parts', () => {
  assert.deepEqual(maxMinFair([10, 2, 100], 20), [9, 2, 9]);
  assert.deepEqual(maxMinFair([1, 2], 50), [1, 2]);
  const wanted = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(wanted, fc.double({ min: 0, max: 1, noNaN: true }), (wishes, part) => {
      const total = wishes.reduce((sum, one) => sum + one, 0) * part;
      const parts = maxMinFair(wishes, total);
      const most = Math.max(...parts);
      assert.ok(Math.abs(parts.reduce((sum, one) => sum + one, 0) - total) < 1e-6);
      for (const [index, one] of parts.entries()) {
        assert.ok(one <= wishes[index]! + 1e-9);
        assert.ok(one >= Math.min(wishes[index]!, most) - 1e-6, 'less than another, and less than it wanted');
      }
    }),
  );
});

test("Jain's index is 1 where all are alike and one n-th where one has it all", () => {
  assert.equal(jainsIndex([3, 3, 3]), 1);
  assert.equal(jainsIndex([5, 0, 0, 0]), 0.25);
  assert.equal(jainsIndex([0, 0]), 1);
});

test('the text and the picture show what the report holds', () => {
  const tenants = ['tenant-1', 'tenant-2', 'tenant-10'];
  const ends = tenants.flatMap((tenant) => [
    end({ arrival: arrival(0, { tenant }), predictedMs: 90 }),
    refused({ arrival: arrival(500, { tenant }) }),
  ]);
  const simulation = simulationOf(ends, { returned: { asked: 4, admitted: 3 } });
  const told = report(simulation, optionsFor([]), 1);
  assert.deepEqual(
    told.tenants.map(({ name }) => name),
    tenants,
  );
  const text = reportText(told);
  assert.match(text, /answered +3 \(50 %\)/);
  assert.match(text, /first token +P50 100 ms, P99 100 ms/);
  assert.match(text, /4 came back when told to, 75 % of them were admitted/);
  assert.match(text, /predicted +3 first tokens; real less predicted P1 10 ms, P50 10 ms, P99 10 ms/);
  const svg = reportPlot('A title', simulation, optionsFor([]), told);
  for (const title of [
    'A title',
    'The queue',
    'First token, predicted and real',
    'First token, P99 of each tenant',
  ])
    assert.ok(svg.includes(`>${title}</text>`), title);
  assert.ok(!svg.includes('NaN'));
});
