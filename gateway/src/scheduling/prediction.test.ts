// Guards the formula by which calls are let in or told to come back: each part on its own, what is unknown, and against a
// server in virtual time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Job,
  ONE_BY_ONE,
  randomJobs,
  type Shape,
  SteppedClock,
  serve,
  TOGETHER,
} from '../../test/stepping-server.ts';
import { seededRandom } from '../load/seeded-random.ts';
import {
  drainPerMs,
  explainPrediction,
  latenessMs,
  type Place,
  type Prediction,
  type Prospect,
  predictFirstToken,
  tokensAheadOf,
} from './prediction.ts';
import { ServiceModel } from './service-model.ts';

/** A back end with a floor of 40 ms and 1 ms a prompt token, whose calls of 100 tokens hold a place for a second. */
function prospect(changes: Partial<Prospect['service']> & { limit?: number } = {}): Prospect {
  const { limit = 4, ...service } = changes;
  return {
    limit,
    promptTokens: 100,
    service: {
      running: 0,
      decoding: 0,
      promptTokens: 0,
      holdMsPerToken: 10,
      meanHoldMs: 1_000,
      holdVariation: 1,
      firstTokenMs: (tokensAhead, decoding) => {
        const floorMs = 40 + 5 * decoding;
        return { ms: floorMs + tokensAhead, floorMs, marginMs: 30 };
      },
      ...service,
    },
  };
}
const UNKNOWN = { firstTokenMs: () => undefined, holdMsPerToken: undefined, meanHoldMs: undefined };

test('with a place free there is the prompt, what is computed before it, and the floor', () => {
  const prediction = predictFirstToken({
    prospects: [prospect({ running: 3, decoding: 2, promptTokens: 60 })],
    tokensAhead: 0,
  })!;
  assert.deepEqual(prediction, {
    ms: 210,
    queueMs: 0,
    promptMs: 160,
    floorMs: 50,
    marginMs: 30,
    caution: 1,
    isIdle: false,
  });
  assert.equal(explainPrediction(prediction), 'queue 0 ms, prompt 160 ms, floor 50 ms');
});

test('of free back ends the quickest counts; a full one does not', () => {
  const slow = prospect({ running: 1, promptTokens: 500 });
  const quick = prospect({ running: 2, decoding: 2 });
  const full = prospect({ running: 4 });
  assert.equal(predictFirstToken({ prospects: [slow, full, quick], tokensAhead: 0 })!.ms, 150);
});

test('with no place free and nobody before it, it waits for one call to end', () => {
  const { queueMs, floorMs, promptMs } = predictFirstToken({
    prospects: [prospect({ running: 4, decoding: 4 })],
    tokensAhead: 0,
  })!;
  assert.equal(queueMs, 250);
  assert.equal(floorMs, 55);
  assert.equal(promptMs, 100);
});

test('what goes before it is waited for at the rate of all back ends', () => {
  const full = prospect({ running: 4, decoding: 4 });
  const alone = predictFirstToken({ prospects: [full], tokensAhead: 400 })!;
  assert.equal(alone.queueMs, 1_250);
  assert.equal(predictFirstToken({ prospects: [full, full], tokensAhead: 400 })!.queueMs, 625);
});

test('places that others have booked take the room that is left', () => {
  const prospects = [prospect({ running: 1, decoding: 1 })];
  assert.equal(
    predictFirstToken({ prospects, tokensAhead: 200 })!.queueMs,
    0,
    'two go before it, three are free',
  );
  assert.equal(predictFirstToken({ prospects, tokensAhead: 300 })!.queueMs, 250);
});

test('prompts that are computed meanwhile are waited for only as far as they take longer', () => {
  const busy = prospect({ running: 4, decoding: 1, promptTokens: 600 });
  assert.equal(predictFirstToken({ prospects: [busy], tokensAhead: 0 })!.promptMs, 100 + 600 - 250);
});

test('bursts, and calls of very different lengths, make the margin wider', () => {
  const margin = (arrivalVariation: number, holdVariation: number) =>
    predictFirstToken({
      prospects: [prospect({ running: 4, holdVariation })],
      tokensAhead: 400,
      arrivalVariation,
    })!.marginMs;
  assert.ok(margin(5, 1) > margin(1, 1));
  assert.ok(margin(1, 5) > margin(1, 1));
  assert.equal(margin(0, 0), 30);
});

test('a free back end whose speed is unknown makes all unknown; beside full ones it counts for nothing', () => {
  const known = prospect({ running: 4, decoding: 4 });
  assert.equal(predictFirstToken({ prospects: [prospect(UNKNOWN)], tokensAhead: 0 }), undefined);
  assert.equal(predictFirstToken({ prospects: [prospect(), prospect(UNKNOWN)], tokensAhead: 0 }), undefined);
  const full = prospect({ ...UNKNOWN, running: 4 });
  assert.equal(predictFirstToken({ prospects: [known, full], tokensAhead: 0 })!.queueMs, 250);
  assert.equal(predictFirstToken({ prospects: [full], tokensAhead: 0 }), undefined);
  assert.equal(drainPerMs([full]), undefined);
});

test('places are promised at the rate at which first tokens come in time, not at the one of full back ends', () => {
  const wide = prospect({ limit: 64 });
  assert.equal(drainPerMs([wide]), 6.4);
  // 40 ms, 5 for each stream beside it, 100 for the prompt and 30 of margin: seven at once.
  assert.equal(drainPerMs([wide], 200), 0.7);
  assert.equal(drainPerMs([wide], 10), 0.1, 'one at a time, whatever it takes');
  assert.equal(drainPerMs([prospect({ limit: 8 }), prospect()], 10_000)?.toFixed(3), '1.200');
});

test('a call is late by what it is over its time, margin included; on an idle back end it never is', () => {
  const busy = predictFirstToken({ prospects: [prospect({ running: 1, decoding: 1 })], tokensAhead: 0 })!;
  assert.equal(latenessMs(busy, 200), 0);
  assert.equal(latenessMs(busy, 100), 75);
  const idle = predictFirstToken({ prospects: [prospect()], tokensAhead: 0 })!;
  assert.ok(idle.isIdle);
  assert.equal(latenessMs(idle, 1), 0);
});

test('where nobody was refused lately a third of the margin counts, and the more of it the more were', () => {
  const latenessAt = (pressure: number) => {
    const prospects = [{ ...prospect({ running: 1, decoding: 1 }), pressure }];
    return Math.round(latenessMs(predictFirstToken({ prospects, tokensAhead: 0 })!, 100));
  };
  assert.deepEqual([0, 0.2, 0.5, 1].map(latenessAt), [55, 55, 60, 75]);
});

const NOBODY: Place = {
  aboveTokens: 0,
  classTokens: 0,
  ownTokens: 100,
  share: 0,
  lowerShare: 0,
};

test('the classes above go first, those below have their share, and what is guaranteed to its own it has in any case', () => {
  assert.equal(tokensAheadOf({ ...NOBODY, aboveTokens: 300 }), 300);
  assert.equal(tokensAheadOf({ ...NOBODY, classTokens: 300, lowerShare: 0.25 }), 400);
  assert.equal(tokensAheadOf({ ...NOBODY, aboveTokens: 1_000_000, share: 0.2 }), 400);
});

test('whatever waits, the tokens before a call are a number and not negative, and more of them never make it sooner', () => {
  const tokens = fc.nat(1_000_000);
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(tokens, tokens, share, share, (aboveTokens, classTokens, own, lower) => {
      const place = { ...NOBODY, aboveTokens, classTokens, share: own, lowerShare: lower };
      const ahead = tokensAheadOf(place);
      assert.ok(Number.isFinite(ahead) && ahead >= 0);
      assert.ok(tokensAheadOf({ ...place, aboveTokens: aboveTokens + 1_000 }) >= ahead);
      const prospects = [prospect({ running: 4 })];
      const { ms, queueMs, promptMs, floorMs } = predictFirstToken({ prospects, tokensAhead: ahead })!;
      assert.ok(Math.abs(ms - queueMs - promptMs - floorMs) < 1e-6 * ms);
      assert.ok(predictFirstToken({ prospects, tokensAhead: ahead + 100 })!.ms > ms);
    }),
  );
});

/** A server that is nearly full: a third of its calls, or a fifth, have to wait. */
function calibrate(shape: Shape, perSecond: number, lengths: Parameters<typeof randomJobs>[3]) {
  const clock = new SteppedClock();
  const service = new ServiceModel(clock);
  const predictions = new Map<Job, Prediction | undefined>();
  const told: { prediction: Prediction; came: number }[] = [];
  const jobs = randomJobs(3_000, perSecond, seededRandom(11), lengths);
  const costOf = ({ promptTokens, outputTokens }: Job) => promptTokens + outputTokens;
  serve(
    shape,
    clock,
    jobs,
    (job) => {
      const call = service.began({ promptTokens: job.promptTokens, costTokens: costOf(job) }, shape.limit);
      return {
        spoke: () => {
          call.spoke();
          const prediction = predictions.get(job);
          if (prediction) told.push({ prediction, came: clock.now() - job.arrivesAt });
        },
        ended: () => call.ended(),
      };
    },
    (job, waiting) => {
      const tokensAhead = waiting.reduce((sum, one) => sum + costOf(one), 0);
      const prospects = [{ service, limit: shape.limit, promptTokens: job.promptTokens }];
      predictions.set(job, predictFirstToken({ prospects, tokensAhead }));
    },
  );
  return told.slice(200);
}

for (const [name, shape, perSecond, lengths] of [
  ['one by one', ONE_BY_ONE, 1.1, { prompt: [20, 400], output: [16, 112] }],
  ['many at once', TOGETHER, 10.5, { prompt: [50, 1_000], output: [20, 300] }],
] as const) {
  test(`a server that computes prompts ${name}, with a queue before it: predictions are near, and within their margin`, () => {
    const told = calibrate(shape, perSecond, lengths);
    const waited = told.filter(({ prediction }) => prediction.queueMs > 0);
    assert.ok(waited.length > 100, `${waited.length} waited`);
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const off = mean(waited.map(({ prediction, came }) => Math.abs(prediction.ms - came)));
    const usual = mean(waited.map(({ came }) => came));
    const late = told.filter(({ prediction, came }) => came > prediction.ms + prediction.marginMs);
    assert.ok(off < 0.4 * usual, `off by ${off.toFixed(0)} of ${usual.toFixed(0)} ms`);
    assert.ok(late.length <= 0.02 * told.length, `${((100 * late.length) / told.length).toFixed(1)} % late`);
  });
}
