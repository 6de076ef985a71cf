// How many threads the engine may compute with at this moment: one more than usual only while the machine does nothing else.
// The engine's threads wait for each other by spinning, so a single one that has to share its core holds up all of them
// (2 threads beside other load: 2 tokens/s where 1 kept 40).
// It must never trust an old look at the machine.

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

/** How often the machine is looked at. */
const SAMPLE_MS = 250;
/** A look back over longer than this says nothing about now. */
const STALE_MS = 2_000;
/**
 * CPUs that others use; up to so much the machine counts as idle beside us. The gateway and its clients are such others: in a
 * surge they take a fifth of a core, in short pieces, and two threads still compute a third more than one.
 */
const QUIET_CPUS = 0.4;
const QUIET_SAMPLES = 2;
/** Spinning threads use all of the time that they are given. Less than this part of it: something took a core for long. */
const LEAST_SHARE = 0.7;
/** Not tried again for this long after threads had to wait for a core; doubled each time, up to the second. */
const PENALTY_MS = 5_000;
const MOST_PENALTY_MS = 300_000;

export class ThreadGovernor {
  private readonly options: ThreadGovernorOptions;
  private current: number;
  private quietSamples = 0;
  private sample: { readonly at: number; readonly machine: number; readonly own: number };
  private penaltyMs = PENALTY_MS;
  private barredUntil = Number.NEGATIVE_INFINITY;

  constructor(options: ThreadGovernorOptions) {
    this.options = options;
    this.current = options.few;
    this.sample = this.look();
  }

  /** For the step that begins now. */
  threads(): number {
    const { few, most } = this.options;
    if (most <= few) return few;
    const now = this.options.now();
    const elapsedMs = now - this.sample.at;
    if (elapsedMs < SAMPLE_MS) return this.current;
    const before = this.sample;
    this.sample = this.look();
    if (elapsedMs > STALE_MS) {
      this.quietSamples = 0;
      this.current = few;
      return few;
    }
    const own = this.sample.own - before.own;
    const others = Math.max(0, this.sample.machine - before.machine - own) / elapsedMs;
    this.quietSamples = others <= QUIET_CPUS ? this.quietSamples + 1 : 0;
    const mayTry = this.quietSamples >= QUIET_SAMPLES && now >= this.barredUntil;
    this.current = mayTry ? most : few;
    return this.current;
  }

  /** A step of `threads` took so much time and CPU time. Long ones only: the clock of CPU time is coarse. */
  computed(threads: number, seconds: number, cpuSeconds: number): void {
    const { few, now } = this.options;
    if (threads <= few || seconds < 0.05) return;
    if (cpuSeconds >= seconds * threads * LEAST_SHARE) return;
    this.current = few;
    this.quietSamples = 0;
    this.barredUntil = now() + this.penaltyMs;
    this.penaltyMs = Math.min(MOST_PENALTY_MS, this.penaltyMs * 2);
  }

  private look(): { at: number; machine: number; own: number } {
    const { now, machineCpuMs, ownCpuMs } = this.options;
    return { at: now(), machine: machineCpuMs(), own: ownCpuMs() };
  }
}
