// How many threads the engine may compute with at this moment: one more than usual only while the machine does nothing else,
// and only for what is worth it.
// The engine's threads wait for each other by spinning, so a single one that has to share its core holds up all of them
// (2 threads beside other load: 2 tokens/s where 1 kept 40).
// It must never trust an old look at the machine.

import { ThreadRace } from './thread-race.ts';

export interface ThreadGovernorOptions {
  /** What is always good. */
  readonly few: number;
  /** What is good while nothing else runs. */
  readonly most: number;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** CPU time since the start, in ms: of the whole machine (all but idle), and of this process. */
  readonly machineCpuMs: () => number;
  readonly ownCpuMs: () => number;
}

/** How often the machine is looked at while the engine computes. */
const LOOK_MS = 250;
/** How often `look` is to be called while it does not, in ms. */
export const IDLE_LOOK_MS = 1_000;
/** A look back over longer than this says nothing about now. */
const STALE_MS = 2_000;
/**
 * CPUs that others use; up to so much the machine counts as idle beside us. The gateway and its clients are such others: in a
 * surge they take a fifth of a core, in short pieces, and two threads still compute a third more than one.
 */
const QUIET_CPUS = 0.4;
const QUIET_SAMPLES = 2;
/** A single token at once waits for memory: whether a thread more makes it sooner or later is the machine's own, and tried. */
const LEAST_TOKENS = 2;
/** Spinning threads use all of the time that they are given. Less than this part of it: something took a core for long. */
const LEAST_SHARE = 0.7;
/**
 * Steps are judged together until they took so long: any single one meets with something now and then, and to leave the second
 * core for seconds because of it takes a third of the speed from those who were let in by it.
 */
const JUDGED_SECONDS = 0.25;
/** Not tried again for this long after threads had to wait for a core; doubled each time, up to the second. */
const PENALTY_MS = 5_000;
const MOST_PENALTY_MS = 300_000;
/** After so long without one the next is the first again. */
const FORGIVEN_MS = 600_000;

export class ThreadGovernor {
  private readonly options: ThreadGovernorOptions;
  private current: number;
  private quietSamples = 0;
  private sample: { readonly at: number; readonly machine: number; readonly own: number };
  /** The last steps with more than few threads that are not judged yet. */
  private unjudged = { seconds: 0, cpuSeconds: 0 };
  /** For steps of a single token. */
  private readonly race: ThreadRace;
  private penaltyMs = 0;
  private barredUntil = Number.NEGATIVE_INFINITY;

  constructor(options: ThreadGovernorOptions) {
    this.options = options;
    this.current = options.few;
    this.race = new ThreadRace(options.few, options.most);
    this.sample = this.sampled();
  }

  /** For the computation of so many tokens that begins now. */
  threads(tokens: number): number {
    this.look();
    return this.isRaced(tokens) ? this.race.threads : this.current;
  }

  /** Looks at the machine, if it is time to. */
  look(): void {
    const { few, most, now } = this.options;
    const elapsedMs = now() - this.sample.at;
    if (most <= few || elapsedMs < LOOK_MS) return;
    const before = this.sample;
    this.sample = this.sampled();
    if (elapsedMs > STALE_MS) {
      this.quietSamples = 0;
      this.current = few;
      return;
    }
    const own = this.sample.own - before.own;
    const others = Math.max(0, this.sample.machine - before.machine - own) / elapsedMs;
    this.quietSamples = others <= QUIET_CPUS ? this.quietSamples + 1 : 0;
    const mayTry = this.quietSamples >= QUIET_SAMPLES && this.sample.at >= this.barredUntil;
    this.current = mayTry ? most : few;
  }

  /** A step for so many tokens, by `threads`, took so much time and CPU time. */
  computed(tokens: number, threads: number, seconds: number, cpuSeconds: number): void {
    if (this.isRaced(tokens)) this.race.took(threads, seconds);
    if (threads <= this.options.few) return;
    const steps = this.unjudged;
    steps.seconds += seconds;
    steps.cpuSeconds += cpuSeconds;
    if (steps.seconds < JUDGED_SECONDS) return;
    this.unjudged = { seconds: 0, cpuSeconds: 0 };
    if (steps.cpuSeconds < steps.seconds * threads * LEAST_SHARE) this.bar();
  }

  /** Only a quiet machine tells which number is better. */
  private isRaced(tokens: number): boolean {
    return tokens < LEAST_TOKENS && this.current > this.options.few;
  }

  private bar(): void {
    const now = this.options.now();
    const isForgiven = now - this.barredUntil > FORGIVEN_MS;
    this.penaltyMs = isForgiven ? PENALTY_MS : Math.min(MOST_PENALTY_MS, this.penaltyMs * 2);
    this.barredUntil = now + this.penaltyMs;
    this.current = this.options.few;
    this.quietSamples = 0;
  }

  private sampled(): { at: number; machine: number; own: number } {
    const { now, machineCpuMs, ownCpuMs } = this.options;
    return { at: now(), machine: machineCpuMs(), own: ownCpuMs() };
  }
}
