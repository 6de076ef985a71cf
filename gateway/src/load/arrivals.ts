// When the requests of an open loop are due: decided before the first is sent, so that no answer's slowness can delay
// the next request. The same seed gives the same times.
// Pure.
import { gammaWithMeanOne, type Random } from './seeded-random.ts';

/** A stretch of a load that is looked at by itself, in ms from its start. */
export interface Phase {
  readonly name: 'before' | 'surge' | 'after';
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Arrivals {
  /** Rising, in ms from the start of the load. */
  readonly atMs: readonly number[];
  /** None: there is nothing to tell apart. */
  readonly phases: readonly Phase[];
}

export interface SteadyOptions {
  readonly random: Random;
  readonly requests: number;
  /** Infinity: all at once. */
  readonly ratePerSecond: number;
  /**
   * The shape of the gamma distribution that the gaps come from: 1 is a Poisson process, less comes in bursts, more
   * evenly. As `vllm bench serve` has it.
   */
  readonly burstiness: number;
}

export function steadyArrivals({ random, requests, ratePerSecond, burstiness }: SteadyOptions): Arrivals {
  return arrivalsAtRates(random, burstiness, requests, () => ratePerSecond);
}

export interface RampOptions extends Omit<SteadyOptions, 'ratePerSecond'> {
  readonly strategy: 'linear' | 'exponential';
  readonly startRps: number;
  readonly endRps: number;
}

/** The rate goes from the one to the other over the requests, not over the time. As `vllm bench serve` has it. */
export function rampArrivals(options: RampOptions): Arrivals {
  const { random, requests, burstiness, strategy, startRps, endRps } = options;
  return arrivalsAtRates(random, burstiness, requests, (index) => {
    const part = index / Math.max(1, requests - 1);
    return strategy === 'linear'
      ? startRps + (endRps - startRps) * part
      : startRps * (endRps / startRps) ** part;
  });
}

function arrivalsAtRates(
  random: Random,
  burstiness: number,
  requests: number,
  rateOf: (index: number) => number,
): Arrivals {
  let atMs = 0;
  const times = Array.from({ length: requests }, (_, index) => {
    atMs += (gammaWithMeanOne(random, burstiness) * 1000) / rateOf(index);
    return atMs;
  });
  return { atMs: times, phases: [] };
}

/** A promotion: a steady rate, a multiple of it for a while, the steady rate again. */
export interface Surge {
  readonly steadyRps: number;
  readonly factor: number;
  readonly beforeSeconds: number;
  readonly surgeSeconds: number;
  readonly afterSeconds: number;
}

/** One process over all phases, its time running `factor` times as fast in the surge. At most `mostRequests`. */
export function surgeArrivals(
  random: Random,
  burstiness: number,
  surge: Surge,
  mostRequests: number,
): Arrivals {
  const { steadyRps, factor, beforeSeconds, surgeSeconds, afterSeconds } = surge;
  const stretches = [
    { name: 'before' as const, seconds: beforeSeconds, ratePerSecond: steadyRps },
    { name: 'surge' as const, seconds: surgeSeconds, ratePerSecond: steadyRps * factor },
    { name: 'after' as const, seconds: afterSeconds, ratePerSecond: steadyRps },
  ];
  const phases: Phase[] = [];
  const atMs: number[] = [];
  let fromMs = 0;
  /** What is left of the gap to the next request, in requests expected. */
  let left = gammaWithMeanOne(random, burstiness);
  for (const { name, seconds, ratePerSecond } of stretches) {
    const toMs = fromMs + seconds * 1000;
    phases.push({ name, fromMs, toMs });
    let nowMs = fromMs;
    for (;;) {
      const dueMs = nowMs + (left * 1000) / ratePerSecond;
      if (dueMs >= toMs || atMs.length >= mostRequests) {
        left -= ((toMs - nowMs) * ratePerSecond) / 1000;
        break;
      }
      atMs.push(dueMs);
      nowMs = dueMs;
      left = gammaWithMeanOne(random, burstiness);
    }
    fromMs = toMs;
  }
  return { atMs, phases };
}
