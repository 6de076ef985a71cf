// The pace of a scripted back end that follows a measured curve: whose token is due when, on real timers. A step's end is
// due from the last one's, not from when its timer came: timers that are late must not make the engine slower.
import type { StepCurve } from '../core/step-curve.ts';
import { type Piece, type StepCall, StepEngine } from '../core/step-engine.ts';

export class CurvePace<C extends StepCall> {
  readonly #engine: StepEngine<C>;
  /** Called for every token; `isLast`: nothing more of the answer is to come. */
  readonly #onToken: (call: C, isLast: boolean) => void;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;

  constructor(curve: StepCurve, onToken: (call: C, isLast: boolean) => void) {
    this.#engine = new StepEngine(curve);
    this.#onToken = onToken;
  }

  /** Its tokens come from the next step on. */
  add(call: C): void {
    this.#engine.add(call);
    if (this.#timer !== undefined) return;
    this.#dueAt = performance.now();
    this.#begin();
  }

  remove(call: C): void {
    this.#engine.remove(call);
  }

  /** Nothing comes any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #begin(): void {
    this.#timer = undefined;
    const piece = this.#engine.next();
    if (piece === undefined) return;
    this.#dueAt += piece.ms;
    this.#timer = setTimeout(() => this.#end(piece), Math.max(0, this.#dueAt - performance.now()));
  }

  /** Of equal steps one is taken at a time: each has tokens of its own to give. */
  #end(piece: Piece<C>): void {
    const { spoke, ended } = this.#engine.computed(piece, 1);
    this.#begin();
    const last = new Set(ended);
    for (const call of piece.answers) this.#onToken(call, last.has(call));
    for (const call of spoke) this.#onToken(call, last.has(call));
  }
}
