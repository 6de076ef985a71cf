// How many answers the engine computes at once, where nobody has said: as many as there are calls for, up to the knee where
// more at once makes each answer's tokens come too slowly, or all of them together fewer. Hill climbing: one size is tried
// beside the one that is held, both judged by steps of the same minutes; what a trial showed holds for a time that doubles
// with every repetition.
// It must never read a clock: times are passed in.
// Pure.
import { median } from '../../figures/statistics.ts';

export interface BatchSizeOptions {
  /** As many the engine has places for. */
  readonly most: number;
  /** What one batch in a hundred may exceed, in seconds: no text comes meanwhile. */
  readonly longestSeconds: number;
}

/** One batch: the next token of every running answer. */
export interface BatchStep {
  readonly atMs: number;
  /** Answers in it. */
  readonly answers: number;
  readonly seconds: number;
  /** Every place was taken: with more of them there might have been more answers. */
  readonly isFull: boolean;
}

/** Each is a quarter to a half more than the one before: a smaller step would not show beside a machine's moods. */
const SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] as const;
export const MOST_AT_ONCE = 64;
/** Before anything was measured. */
const FIRST_SIZE = 8;

/** A size is judged by so many batches, and nearly all of them must have been full. */
const JUDGED = 48;
const LEAST_FULL = 0.9;
/** For a batch in a hundred to be late means more than one hiccup in this many. */
const REMEMBERED = 128;
const MOST_LATE = 2;
/** Older steps than this say nothing of the size that is held now. */
const FRESH_MS = 60_000;

/**
 * What doubling the size may take from the tokens a second of all together, as a part of them, to be tried and to be kept;
 * between the two nothing changes. It need not add any: where a processor computes as fast as it can, one answer alone comes
 * at the speed of twenty together, but whoever is let in now has a first word now, and need not wait for another's last.
 */
const MOST_LOSS_RAISING = 0.05;
const MOST_LOSS_KEEPING = 0.1;

/** A smaller size is only seen once enough answers have ended. */
const TRIAL_MS = 60_000;
/** From one trial of a size to the next; doubled each time that it shows the same, up to the second. */
const FIRST_REST_MS = 60_000;
const MOST_REST_MS = 1_800_000;

interface Trial {
  readonly to: number;
  readonly untilMs: number;
  /** Tokens a second at the size that is held, as the trial began. */
  readonly heldSpeed: number;
}

export class BatchSize {
  private readonly longestSeconds: number;
  private readonly sizes: readonly number[];
  /** Of each size, the last batches. */
  private readonly steps: BatchStep[][];
  /** Of each size, until when it is not tried as a larger one. */
  private readonly rests: Rest[];
  /** Until when no smaller size is looked at. */
  private readonly smallerRest = new Rest();
  private held: number;
  private trial: Trial | undefined;

  constructor({ most, longestSeconds }: BatchSizeOptions) {
    this.longestSeconds = longestSeconds;
    this.sizes = SIZES.filter((size) => size <= Math.max(1, most));
    this.steps = this.sizes.map(() => []);
    this.rests = this.sizes.map(() => new Rest());
    this.held = this.sizes.findLastIndex((size) => size <= FIRST_SIZE);
  }

  /** Answers at once, from now on. */
  get value(): number {
    return this.sizes[this.trial?.to ?? this.held]!;
  }

  stepped(step: BatchStep): void {
    this.remember(step);
    if (this.trial) this.judge(this.trial, step.atMs);
    else this.consider(step.atMs);
  }

  /** Under the size that it is nearest to from below; one that filled too little of a size says nothing of it. */
  private remember(step: BatchStep): void {
    const index = this.sizes.findIndex((size) => step.answers <= size);
    const smaller = this.sizes[index - 1] ?? 0;
    const steps = this.steps[index];
    if (steps === undefined || step.answers <= (smaller + this.sizes[index]!) / 2) return;
    steps.push(step);
    if (steps.length > REMEMBERED) steps.shift();
  }

  /** No trial is on: whether the size that is held still may be, and whether another is to be tried. */
  private consider(nowMs: number): void {
    const { held } = this;
    if (this.isLate(held)) {
      if (held === 0) return;
      this.rests[held]!.lengthen(nowMs);
      this.hold(held - 1);
      return;
    }
    const speed = this.speedWhenFull(held, nowMs);
    if (speed === undefined) return;
    if (this.rests[held + 1]?.isOver(nowMs)) this.try(held + 1, speed, nowMs);
    else if (held > 0 && this.smallerRest.isOver(nowMs)) this.try(held - 1, speed, nowMs);
  }

  private try(to: number, heldSpeed: number, nowMs: number): void {
    this.steps[to] = [];
    this.trial = { to, untilMs: nowMs + TRIAL_MS, heldSpeed };
  }

  private judge({ to, untilMs, heldSpeed }: Trial, nowMs: number): void {
    const { held } = this;
    const isLarger = to > held;
    const rest = isLarger ? this.rests[to]! : this.smallerRest;
    const isLate = this.isLate(to);
    const steps = this.steps[to]!;
    if (!isLate && steps.length < JUDGED) {
      if (nowMs < untilMs) return;
      // Too few came, or none went: it has shown nothing.
      rest.begin(nowMs);
      this.hold(held);
      return;
    }
    const speed = speedOf(steps);
    if (isLarger) {
      const isWorth = !isLate && this.lossADoubling(held, heldSpeed, to, speed) <= MOST_LOSS_RAISING;
      if (isWorth) {
        rest.reset();
        // What was just left was just seen to be no better.
        this.smallerRest.begin(nowMs);
      } else rest.lengthen(nowMs);
      this.hold(isWorth ? to : held);
      return;
    }
    const isKept = !isLate && this.lossADoubling(to, speed, held, heldSpeed) <= MOST_LOSS_KEEPING;
    if (isKept) rest.lengthen(nowMs);
    else {
      rest.reset();
      this.rests[held]!.lengthen(nowMs);
    }
    this.hold(isKept ? held : to);
  }

  private hold(index: number): void {
    this.trial = undefined;
    this.held = index;
    this.steps[index] = [];
  }

  /** More than one in a hundred, and more than hiccups. */
  private isLate(index: number): boolean {
    const late = this.steps[index]!.filter(({ seconds }) => seconds > this.longestSeconds);
    return late.length > MOST_LATE;
  }

  /** Tokens a second; undefined: it was not full of late, so that another size would show nothing. */
  private speedWhenFull(index: number, nowMs: number): number | undefined {
    const last = this.steps[index]!.slice(-JUDGED);
    if (last.length < JUDGED || nowMs - last[0]!.atMs > FRESH_MS) return undefined;
    if (last.filter(({ isFull }) => isFull).length < JUDGED * LEAST_FULL) return undefined;
    return speedOf(last);
  }

  /** What the larger of two sizes takes, as a part of the smaller one's speed, for a doubling. */
  private lossADoubling(smaller: number, smallerSpeed: number, larger: number, largerSpeed: number): number {
    const doublings = Math.log2(this.sizes[larger]! / this.sizes[smaller]!);
    return (1 - largerSpeed / smallerSpeed) / doublings;
  }
}

/** By the middle step: one that was held up by something else says nothing of the size. */
function speedOf(steps: readonly BatchStep[]): number {
  return median(steps.map(({ answers, seconds }) => answers / seconds));
}

/** A time in which something is left alone; each is twice as long as the one before. */
class Rest {
  private untilMs = Number.NEGATIVE_INFINITY;
  private nextMs = FIRST_REST_MS;

  isOver(nowMs: number): boolean {
    return nowMs >= this.untilMs;
  }

  begin(nowMs: number): void {
    this.untilMs = nowMs + this.nextMs;
  }

  lengthen(nowMs: number): void {
    this.begin(nowMs);
    this.nextMs = Math.min(MOST_REST_MS, this.nextMs * 2);
  }

  reset(): void {
    this.untilMs = Number.NEGATIVE_INFINITY;
    this.nextMs = FIRST_REST_MS;
  }
}
