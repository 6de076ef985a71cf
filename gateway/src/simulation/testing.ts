// What the tests of this room share: a small engine with round figures, and requests by hand.
import type { StepCurve } from '../core/step-curve.ts';
import type { SimulationOptions } from './simulate.ts';
import type { Arrival } from './workload.ts';

/** A prompt of 100 tokens takes 110 ms, a token 10 ms, whoever else has one. */
export const CURVE: StepCurve = {
  name: 'round',
  origin: 'made up',
  slots: 4,
  decodeMs: [[1, 10]],
  prefillMs: [
    [1, 11],
    [100, 110],
  ],
  prompts: 'one',
  sliceTokens: 100,
  cacheTokens: 1_000_000,
};

/** A request that is like no other: nothing of it is in any cache. */
export function arrival(atMs: number, more: Partial<Arrival> = {}): Arrival {
  return {
    atMs,
    promptTokens: 100,
    outputTokens: 10,
    tenant: 'someone',
    priority: 'interactive',
    session: `at ${atMs}`,
    blocks: [],
    ...more,
  };
}

export function optionsFor(
  arrivals: readonly Arrival[],
  more: Partial<SimulationOptions> = {},
): SimulationOptions {
  return {
    arrivals,
    curve: CURVE,
    replicas: 1,
    seed: 1,
    objectiveMs: 500,
    patienceMs: 30_000,
    returns: false,
    queue: { maxTokens: 500_000, maxWaitMs: 60_000 },
    ...more,
  };
}
