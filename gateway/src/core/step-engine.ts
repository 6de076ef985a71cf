// An engine with continuous batching that computes nothing: it says what its next step takes by a measured curve, and
// who gives a token with it. Whoever drives it keeps the time, real or simulated; that is why it is beside the curve.
// Equal steps come as one piece, so that an hour is simulated without a look at each of its tokens.
import { type StepCurve, stepMs } from './step-curve.ts';

export interface StepCall {
  /** Tokens of its prompt that are to be computed, at least 1: what is cached is not among them. */
  readonly promptTokens: number;
  /** Tokens that its answer will have, at least 1. */
  readonly outputTokens: number;
}

/** Equal steps in a row. */
export interface Piece<C> {
  /** One of them, in ms. */
  readonly ms: number;
  readonly steps: number;
  /** The answers that get a token with each of them. */
  readonly answers: readonly C[];
  /** The prompts that are computed in it, and how much of each. Where there are any, the piece is one step. */
  readonly slices: readonly (readonly [call: C, tokens: number])[];
}

/** What a piece brought. */
export interface Computed<C> {
  /** Gave their first token, with the end of their prompt. */
  readonly spoke: readonly C[];
  /** Gave their last token. One that has only one is among `spoke`, too. */
  readonly ended: readonly C[];
}

/** Prompts are computed in the order in which they came. A call that comes during a step joins the next one. */
export class StepEngine<C extends StepCall> {
  readonly #curve: StepCurve;
  readonly #arrived = new Set<C>();
  /** Tokens of each prompt that are left to compute. */
  readonly #prompts = new Map<C, number>();
  /** The step with which each running answer ends. */
  readonly #answers = new Map<C, number>();
  #step = 0;

  constructor(curve: StepCurve) {
    this.#curve = curve;
  }

  add(call: C): void {
    this.#arrived.add(call);
  }

  /** It gets nothing more, also of the step that is under way. */
  remove(call: C): void {
    this.#arrived.delete(call);
    this.#prompts.delete(call);
    this.#answers.delete(call);
  }

  /** How many tokens a running answer still has to come. */
  tokensLeft(call: C): number {
    const end = this.#answers.get(call);
    return end === undefined ? call.outputTokens : end - this.#step;
  }

  /** What is to be computed next; undefined: nothing. */
  next(): Piece<C> | undefined {
    for (const call of this.#arrived) this.#prompts.set(call, call.promptTokens);
    this.#arrived.clear();
    if (this.#prompts.size === 0 && this.#answers.size === 0) return undefined;
    const answers = [...this.#answers.keys()];
    const slices = this.#slices();
    const promptTokens = slices.reduce((sum, [, tokens]) => sum + tokens, 0);
    let steps = 1;
    if (slices.length === 0) steps = Math.min(...this.#answers.values()) - this.#step;
    return { ms: stepMs(this.#curve, answers.length, promptTokens), steps, answers, slices };
  }

  /** Of what `next` gave last, so many steps have been computed. */
  computed({ slices }: Piece<C>, steps: number): Computed<C> {
    this.#step += steps;
    const spoke: C[] = [];
    const ended: C[] = [];
    for (const [call, end] of this.#answers) if (end <= this.#step) ended.push(call);
    for (const [call, tokens] of slices) {
      const left = this.#prompts.get(call);
      if (left === undefined) continue;
      this.#prompts.set(call, left - tokens);
      if (left > tokens) continue;
      this.#prompts.delete(call);
      spoke.push(call);
      if (call.outputTokens <= 1) ended.push(call);
      else this.#answers.set(call, this.#step + call.outputTokens - 1);
    }
    for (const call of ended) this.#answers.delete(call);
    return { spoke, ended };
  }

  #slices(): (readonly [C, number])[] {
    const { prompts, sliceTokens } = this.#curve;
    const slices: [C, number][] = [];
    let room = sliceTokens;
    for (const [call, left] of this.#prompts) {
      if (room <= 0) break;
      const tokens = Math.min(left, room);
      slices.push([call, tokens]);
      room = prompts === 'one' ? 0 : room - tokens;
    }
    return slices;
  }
}
