// A simulated load: the scheduler that serves, with clients and back ends that only take simulated time. Not a model of
// the scheduler but the scheduler itself: what it sees is the time of events instead of the clock on the wall. Every
// request ends in exactly one way, or the run fails.
import type { StepCurve } from '../core/step-curve.ts';
import { Histogram } from '../figures/histogram.ts';
import { seededRandom } from '../load/seeded-random.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { type BusyTimes, SimulatedBackend } from './simulated-backend.ts';
import { type ClientOptions, type RequestEnd, SimulatedClient } from './simulated-client.ts';
import { VirtualClock } from './virtual-clock.ts';
import type { Arrival } from './workload.ts';

export interface SimulationOptions extends Pick<ClientOptions, 'objectiveMs' | 'patienceMs' | 'returns'> {
  readonly arrivals: readonly Arrival[];
  readonly curve: StepCurve;
  readonly replicas: number;
  /** Of what the scheduler leaves to chance. */
  readonly seed: number;
  /** Bounds of the queue, as the configuration has them. */
  readonly queue: { readonly maxTokens: number; readonly maxWaitMs: number };
}

export interface Simulation {
  readonly ends: readonly RequestEnd[];
  /** The silences before every token but the first of an answer, in ms. */
  readonly gaps: Histogram;
  /** One of each replica. */
  readonly busy: readonly BusyTimes[];
  /** How many waited and ran, over time. */
  readonly queue: readonly QueueSample[];
  /** Askings at a time that a refusal had named, and those of them that got a slot. */
  readonly returned: { readonly asked: number; readonly admitted: number };
  /** From the first request to the end of the last, in ms. */
  readonly lastedMs: number;
}

export interface QueueSample {
  readonly atMs: number;
  readonly waiting: number;
  readonly running: number;
}

/** Looks at the queue over the arrivals. */
const SAMPLES = 600;
const LEAST_SAMPLE_MS = 100;
/** What has not ended so long after the last request came never will. */
const GIVE_UP_MS = 24 * 60 * 60 * 1000;

/** Throws an Error if the scheduler forgets a call. */
export async function simulate(options: SimulationOptions): Promise<Simulation> {
  const { arrivals, curve, replicas, queue, seed } = options;
  const clock = new VirtualClock();
  const random = seededRandom(seed);
  const settings = { clock, random, maxWaitingTokens: queue.maxTokens, maxWaitMs: queue.maxWaitMs };
  const scheduler = new Scheduler(settings);
  const gaps = new Histogram();
  const backends = Array.from(
    { length: replicas },
    (_, index) => new SimulatedBackend({ id: `replica-${index + 1}`, curve, clock, gaps }),
  );
  const returned = { asked: 0, admitted: 0 };
  const client = { ...options, clock, scheduler, backends, returned };
  const ends: RequestEnd[] = [];
  let failure: { readonly thrown: unknown } | undefined;
  arrivals.forEach((arrival, index) => {
    clock.after(arrival.atMs, () => {
      new SimulatedClient(client, arrival, index).run().then(
        (end) => ends.push(end),
        (thrown) => {
          failure = { thrown };
        },
      );
    });
  });
  const lastAt = arrivals.at(-1)?.atMs ?? 0;
  const samples = sampleQueue(clock, scheduler, Math.max(LEAST_SAMPLE_MS, lastAt / SAMPLES));
  const isOver = () => ends.length === arrivals.length || clock.now() > lastAt + GIVE_UP_MS;
  await clock.run(() => failure !== undefined || isOver());
  if (failure) throw failure.thrown;
  if (ends.length < arrivals.length) {
    throw new Error(
      `${arrivals.length - ends.length} requests never ended: the scheduler has forgotten them.`,
    );
  }
  const busy = backends.map(({ times }) => times);
  return { ends, gaps, busy, queue: samples, returned, lastedMs: clock.now() };
}

/** Looks at the queue again and again, for as long as the clock runs. */
function sampleQueue(clock: VirtualClock, scheduler: Scheduler, stepMs: number): QueueSample[] {
  const samples: QueueSample[] = [];
  const sample = () => {
    const { waiting, running } = scheduler.snapshot();
    samples.push({ atMs: clock.now(), waiting, running });
    clock.after(stepMs, sample);
  };
  sample();
  return samples;
}
