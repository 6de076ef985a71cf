// A back end as a measured curve: it takes calls as the scheduler gives them, and lets simulated time pass for their
// steps. It remembers which beginnings of prompts it has computed, as far as its cache holds them, and computes only the
// rest. It keeps count of what its time went into. It must never look at a real clock.
import type { Backend, BackendLoad } from '../core/backend.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { type Piece, StepEngine } from '../core/step-engine.ts';
import type { Histogram } from '../figures/histogram.ts';

/** Tokens of one block of what it remembers, as vLLM's cache has them. */
export const BLOCK_TOKENS = 16;

/** What a call is to a back end. */
export interface SimulatedCall {
  /** All of its prompt, cached or not. */
  readonly promptTokens: number;
  /** Tokens that its answer will have, at least 1. */
  readonly outputTokens: number;
  /** Names for the blocks of its prompt and, after them, of its answer: equal ones mean equal beginnings. */
  readonly blocks: readonly number[];
  spoke(): void;
  ended(): void;
}

/** A call that a back end has taken. */
export interface Run {
  /** Tokens of its prompt that were not to be computed. */
  readonly cachedTokens: number;
  /** The longest silence between two of its tokens so far, in ms. */
  readonly longestGapMs: number;
  /** Takes it out and says how many tokens it has given; 0 where it is over already. What it computed stays in the cache. */
  stop(): number;
}

/** What its time went into. */
export interface BusyTimes {
  /** Steps with prompts in them, in ms. */
  readonly promptsMs: number;
  /** Steps that only gave tokens, in ms. */
  readonly answersMs: number;
  /** With all slots taken, in ms. */
  readonly fullMs: number;
}

interface Place extends Run {
  /** Of the prompt, to be computed. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly call: SimulatedCall;
  longestGapMs: number;
}

export interface SimulatedBackendOptions {
  readonly id: string;
  readonly curve: StepCurve;
  readonly clock: Clock;
  /** Gets the silence before every token but the first of an answer, in ms. */
  readonly gaps: Histogram;
}

/** Rounding must not make a step that is over look as if it were under way, in steps. */
const TOLERANCE = 1e-9;

export class SimulatedBackend implements Backend {
  readonly id: string;
  readonly continues: 'text' | 'ids' | undefined;
  readonly #options: SimulatedBackendOptions;
  readonly #engine: StepEngine<Place>;
  readonly #places = new Set<Place>();
  readonly #seen: SeenBlocks;
  readonly #times = { promptsMs: 0, answersMs: 0, fullMs: 0 };
  #heldTokens = 0;
  #piece: Piece<Place> | undefined;
  #startedAt = 0;
  #takeBack: (() => void) | undefined;

  constructor(options: SimulatedBackendOptions) {
    const { id, curve } = options;
    this.id = id;
    this.continues = curve.continues;
    this.#options = options;
    this.#engine = new StepEngine(curve);
    this.#seen = new SeenBlocks(Math.floor(curve.cacheTokens / BLOCK_TOKENS));
  }

  get times(): BusyTimes {
    return this.#times;
  }

  /** Begins a call; its first token comes no sooner than the next event. */
  start(call: SimulatedCall): Run {
    const { promptTokens, outputTokens, blocks } = call;
    // The last token of a prompt is computed in any case: the first of the answer comes out of it.
    const cachedTokens = Math.min(this.#seen.begins(blocks) * BLOCK_TOKENS, promptTokens - 1);
    const place: Place = {
      call,
      cachedTokens,
      promptTokens: promptTokens - cachedTokens,
      outputTokens,
      longestGapMs: 0,
      stop: () => this.#leave(place),
    };
    this.#places.add(place);
    this.#heldTokens += promptTokens + outputTokens;
    this.#engine.add(place);
    this.#interrupt();
    return place;
  }

  load(): BackendLoad {
    const { slots, cacheTokens } = this.#options.curve;
    const kvCacheUsage = Math.min(1, this.#heldTokens / cacheTokens);
    return { state: 'ready', slots, kvCacheUsage };
  }

  /** Nothing of its load changes without the scheduler's doing. */
  onLoadChange(): () => void {
    return () => {};
  }

  /** Nobody asks it: the simulation takes no words, only their times. */
  chat(): Promise<never> {
    return Promise.reject(new GatewayError('internal', 'A simulated back end has no words.'));
  }

  async close(): Promise<void> {}

  #leave(place: Place): number {
    if (!this.#places.has(place)) return 0;
    this.#catchUp();
    this.#places.delete(place);
    const { call, outputTokens } = place;
    const givenTokens = outputTokens - this.#engine.tokensLeft(place);
    this.#heldTokens -= call.promptTokens + outputTokens;
    if (givenTokens > 0) this.#remember(call, givenTokens);
    this.#engine.remove(place);
    this.#interrupt();
    return givenTokens;
  }

  /** What there is of a prompt and its answer, for those who begin alike. */
  #remember({ promptTokens, blocks }: SimulatedCall, givenTokens: number): void {
    this.#seen.add(blocks, Math.floor((promptTokens + givenTokens) / BLOCK_TOKENS));
  }

  /** Who came or left changes what is computed after the step that is under way. */
  #interrupt(): void {
    this.#catchUp();
    if (this.#piece === undefined) this.#begin();
    else if (this.#piece.steps > 1) this.#schedule({ ...this.#piece, steps: 1 });
  }

  /** Counts those steps of the piece that are over. The last one's end is an event of its own. */
  #catchUp(): void {
    const piece = this.#piece;
    if (piece === undefined) return;
    const elapsed = Math.floor((this.#options.clock.now() - this.#startedAt) / piece.ms + TOLERANCE);
    const over = Math.min(elapsed, piece.steps - 1);
    if (over <= 0) return;
    this.#account(piece, over);
    this.#engine.computed(piece, over);
    this.#startedAt += over * piece.ms;
    this.#piece = { ...piece, steps: piece.steps - over };
  }

  #begin(): void {
    this.#piece = undefined;
    const piece = this.#engine.next();
    if (piece === undefined) return;
    this.#startedAt = this.#options.clock.now();
    this.#schedule(piece);
  }

  #schedule(piece: Piece<Place>): void {
    const { clock } = this.#options;
    this.#takeBack?.();
    this.#piece = piece;
    const dueAt = this.#startedAt + piece.ms * piece.steps;
    this.#takeBack = clock.after(dueAt - clock.now(), () => this.#end());
  }

  #end(): void {
    const piece = this.#piece!;
    this.#takeBack = undefined;
    this.#account(piece, piece.steps);
    const { spoke, ended } = this.#engine.computed(piece, piece.steps);
    for (const { call } of spoke) this.#remember(call, 1);
    for (const place of ended) {
      this.#places.delete(place);
      this.#heldTokens -= place.call.promptTokens + place.outputTokens;
      this.#remember(place.call, place.outputTokens);
    }
    // The next step begins before anyone hears of this one, as it does in an engine: who comes now joins the one after.
    this.#begin();
    for (const { call } of spoke) call.spoke();
    for (const { call } of ended) call.ended();
  }

  #account({ ms, answers, slices }: Piece<Place>, steps: number): void {
    const { curve, gaps } = this.#options;
    const tookMs = ms * steps;
    if (slices.length > 0) this.#times.promptsMs += tookMs;
    else this.#times.answersMs += tookMs;
    if (this.#places.size >= curve.slots) this.#times.fullMs += tookMs;
    let tokens = 0;
    for (const place of answers) {
      if (!this.#places.has(place)) continue;
      if (ms > place.longestGapMs) place.longestGapMs = ms;
      tokens += steps;
    }
    if (tokens > 0) gaps.add(ms, tokens);
  }
}

/** The blocks that a cache holds, those that were used last. */
class SeenBlocks {
  readonly #most: number;
  /** Those used last are at the end. */
  readonly #blocks = new Set<number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** How many of them it holds, from the first on. */
  begins(blocks: readonly number[]): number {
    let count = 0;
    while (count < blocks.length && this.#blocks.has(blocks[count]!)) count += 1;
    return count;
  }

  /** The first `count` of them are used now. A beginning goes last: nothing is of use without it. */
  add(blocks: readonly number[], count: number): void {
    for (let index = Math.min(count, blocks.length) - 1; index >= 0; index -= 1) {
      const block = blocks[index]!;
      this.#blocks.delete(block);
      this.#blocks.add(block);
    }
    for (const block of this.#blocks) {
      if (this.#blocks.size <= this.#most) break;
      this.#blocks.delete(block);
    }
  }
}
