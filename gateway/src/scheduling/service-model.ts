// How fast one back end is, measured by the calls that it ran: the time to a first token by the prompt tokens that had to be
// computed before it, and the rate at which it gets through work while all its places are taken.
// It must never decide anything, and never know who waits: predictions are made of it elsewhere.
import type { Clock } from '../core/clock.ts';
import { DecayedRegression } from './decayed-regression.ts';
import { ErrorMargin } from './error-margin.ts';

/** What a call gives a back end to do, in tokens as they were estimated: the measured rates are in the same. */
export interface Work {
  /** Of the prompt, without what the back end is thought to have computed already. */
  readonly promptTokens: number;
  /** All that the call costs, as the queue counts it. */
  readonly costTokens: number;
}

/** A call that runs. Of each method the first call counts. */
export interface BegunCall {
  /** The first token has come. */
  spoke(): void;
  /** Its place is free again, however it ended. */
  ended(): void;
}

/** In ms from the beginning of a call on a back end. */
export interface FirstTokenEstimate {
  readonly ms: number;
  /** Of it, what even a prompt of no tokens would take. */
  readonly floorMs: number;
  /** 99 of 100 first tokens came no later than this after the estimate. */
  readonly marginMs: number;
}

/**
 * After so many samples the older ones count half, and after so much time. At first sooner, after a part of those that there
 * are: a back end's first calls find nothing computed yet, and say little of its day.
 */
const HALF_LIFE_SAMPLES = 50;
const FIRST_HALF_LIFE_SAMPLES = 4;
const HALF_LIFE_SHARE = 0.25;
const HALF_LIFE_MS = 600_000;
/** Nothing fades further between two samples: after a quiet week the last busy day is still the best guess. */
const LEAST_DECAY = 2 ** -10;

/**
 * Before so many first tokens nothing is predicted, and no error is learnt from: who is let in is then only bounded by how many
 * are tried at once.
 */
const LEAST_SAMPLES = 8;
/**
 * So many calls without a first token are tried at once until then, as TCP begins with a small window (RFC 5681): twice the time to
 * a first token, and enough is known.
 */
const MOST_TRIED = 4;

/** Below this share of the estimate an error is never taken for an accident. */
const LEAST_CUT_SHARE = 0.25;

/** How much a call counts for the rate that was not there while all places were taken, against one that was all its life. */
const UNSATURATED_WEIGHT = 0.05;

/**
 * One for each back end, fed with its calls.
 *
 * The time to a first token is taken for linear in the prompt tokens ahead, the call's own and those of calls that have
 * not spoken yet, and each stream that runs beside it makes both the floor and every token dearer: a step of continuous
 * batching computes a token for each stream and a slice of a prompt (Agrawal et al., "Sarathi-Serve", 2024). That holds for
 * servers that compute one prompt after the other and for those that compute many at once: either way the first
 * token comes when what was there before it is done.
 */
export class ServiceModel {
  readonly #clock: Clock;
  readonly #line = new DecayedRegression(4);
  #samples = 0;
  #sampledAt = 0;
  /** Of errors in units of the root of their estimate: a sum of many small times varies by the root of its length. */
  readonly #errors = new ErrorMargin();

  #running = 0;
  #silent = 0;
  #promptTokens = 0;
  /** Calls at once, as the last one to begin was told. */
  #limit = 1;
  /** How long all places were taken, in all, until `#lookedAt`. */
  #fullMs = 0;
  #lookedAt = 0;
  /** Decayed sums over calls that ended after their first token. */
  readonly #holds = { weight: 0, ms: 0, squares: 0, tokens: 0, at: 0 };
  /**
   * How long all places together were taken, as that time passes, and what of it the calls that ended had: decayed alike. In a
   * load that does not change both are. As it rises the short answers end first, and those that ended say too little.
   */
  readonly #taken = { ms: 0, endedMs: 0 };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A call begins; `limit`: how many may run at once now. */
  began({ promptTokens, costTokens }: Work, limit: number): BegunCall {
    const beganAt = this.#clock.now();
    this.#countFull(beganAt);
    const causes = causesOf(this.#promptTokens + promptTokens, this.decoding);
    const expectedMs = this.#samples < LEAST_SAMPLES ? undefined : this.#line.at(causes);
    const fullBefore = this.#fullMs;
    this.#limit = Math.max(1, limit);
    this.#running += 1;
    this.#silent += 1;
    this.#promptTokens += promptTokens;
    let isSilent = true;
    let isRunning = true;
    const speak = (now: number): boolean => {
      if (!isSilent) return false;
      isSilent = false;
      this.#silent -= 1;
      this.#promptTokens -= promptTokens;
      return now > beganAt;
    };
    return {
      spoke: () => {
        const now = this.#clock.now();
        if (speak(now)) this.#learn(causes, now - beganAt, expectedMs);
      },
      ended: () => {
        if (!isRunning) return;
        isRunning = false;
        const now = this.#clock.now();
        this.#countFull(now);
        this.#running -= 1;
        const holdMs = now - beganAt;
        const wasSilent = isSilent;
        // Who was not waited for to the end took at least so long: without them only the quick ones would be learnt from,
        // and where all are too slow from the first call on, nothing, so that all would be let in for ever.
        if (speak(now) && holdMs > (expectedMs ?? 0)) this.#learn(causes, holdMs, expectedMs);
        // Nothing was done for who had no token. Taken for done, it would make a back end the faster the more it fails.
        if (!wasSilent) this.#held(now, holdMs, costTokens, this.#fullMs - fullBefore);
      },
    };
  }

  /**
   * Until the first token of a call that begins while `tokensAhead` prompt tokens, its own among them, are to be computed
   * and `decoding` calls are past their first token. Undefined: not enough was measured yet.
   */
  firstTokenMs(tokensAhead: number, decoding: number): FirstTokenEstimate | undefined {
    if (this.#samples < LEAST_SAMPLES) return undefined;
    const ms = this.#line.at(causesOf(tokensAhead, decoding));
    const floorMs = this.#line.at(causesOf(0, decoding));
    return { ms, floorMs, marginMs: this.#errors.above * Math.sqrt(ms) };
  }

  /** Calls that may run while nothing can be said of the next one's first token; Infinity: it can. */
  get mostTried(): number {
    return this.#samples < LEAST_SAMPLES ? this.decoding + MOST_TRIED : Infinity;
  }

  /** The same by whatever was measured, in ms; 0: nothing was. Not to be told to anybody: it may be far off. */
  guessFirstTokenMs(tokensAhead: number, decoding: number): number {
    return this.#line.at(causesOf(tokensAhead, decoding));
  }

  /** Prompt tokens of the calls that have not spoken yet. */
  get promptTokens(): number {
    return this.#promptTokens;
  }

  /** Calls that run. */
  get running(): number {
    return this.#running;
  }

  /** Calls that are past their first token. */
  get decoding(): number {
    return this.#running - this.#silent;
  }

  /** How long a call holds its place, in ms for each token of its cost; undefined: none has ended yet. */
  get holdMsPerToken(): number | undefined {
    const { tokens } = this.#holds;
    const ms = this.#heldMs();
    return tokens > 0 && ms > 0 ? ms / tokens : undefined;
  }

  /** How long a call holds its place, in ms; undefined: none has ended yet. */
  get meanHoldMs(): number | undefined {
    const { weight } = this.#holds;
    const ms = this.#heldMs();
    return weight > 0 && ms > 0 ? ms / weight : undefined;
  }

  /** The squared coefficient of variation of that: 0, all alike; 1, as random as an exponential distribution. */
  get holdVariation(): number {
    const { ms, squares, weight } = this.#holds;
    return ms > 0 ? Math.max(0, (squares * weight) / (ms * ms) - 1) : 0;
  }

  /** Cost tokens that it gets through in a second while `limit` calls run; undefined: nothing has ended yet. */
  tokensPerSecond(limit = this.#limit): number | undefined {
    const msPerToken = this.holdMsPerToken;
    return msPerToken === undefined ? undefined : (limit * 1000) / msPerToken;
  }

  #learn(causes: readonly number[], ms: number, expectedMs: number | undefined): void {
    const now = this.#clock.now();
    const learntMs = expectedMs === undefined ? ms : this.#judge(ms, expectedMs);
    this.#line.decay(decaySince(this.#sampledAt, now, this.#samples));
    // By the inverse of its variance, so that long prompts do not drown what short ones say of the floor.
    this.#line.add(causes, learntMs, 1 / Math.max(1, expectedMs ?? ms));
    this.#sampledAt = now;
    this.#samples += 1;
  }

  /** Learns from an error how large errors are, and returns what the line may learn from it, in ms. */
  #judge(ms: number, expectedMs: number): number {
    const unit = Math.sqrt(Math.max(1, expectedMs));
    return (
      expectedMs + unit * this.#errors.take((ms - expectedMs) / unit, (LEAST_CUT_SHARE * expectedMs) / unit)
    );
  }

  /** `fullMs`: how much of it all places were taken. */
  #held(now: number, holdMs: number, tokens: number, fullMs: number): void {
    if (holdMs <= 0) return;
    const sums = this.#holds;
    const decay = decaySince(sums.at, now, Infinity);
    this.#taken.ms *= decay;
    this.#taken.endedMs = this.#taken.endedMs * decay + holdMs;
    const weight = UNSATURATED_WEIGHT + (1 - UNSATURATED_WEIGHT) * Math.min(1, fullMs / holdMs);
    sums.weight = sums.weight * decay + weight;
    sums.ms = sums.ms * decay + weight * holdMs;
    sums.squares = sums.squares * decay + weight * holdMs * holdMs;
    sums.tokens = sums.tokens * decay + weight * tokens;
    sums.at = now;
  }

  /** In which as much was done as `#holds` says, those that still run counted; rather too long than too short. */
  #heldMs(): number {
    this.#countFull(this.#clock.now());
    const { ms, endedMs } = this.#taken;
    return endedMs > 0 ? this.#holds.ms * Math.max(1, ms / endedMs) : 0;
  }

  #countFull(now: number): void {
    const ms = now - this.#lookedAt;
    if (this.#running >= this.#limit) this.#fullMs += ms;
    this.#taken.ms += ms * this.#running;
    this.#lookedAt = now;
  }
}

function causesOf(tokensAhead: number, decoding: number): readonly number[] {
  return [1, tokensAhead, decoding, tokensAhead * decoding];
}

/** What the older ones count after one more sample, of `samples` so far. */
function decaySince(then: number, now: number, samples: number): number {
  const halfLife = Math.min(HALF_LIFE_SAMPLES, Math.max(FIRST_HALF_LIFE_SAMPLES, samples * HALF_LIFE_SHARE));
  return Math.max(LEAST_DECAY, 0.5 ** (1 / halfLife + (now - then) / HALF_LIFE_MS));
}
