// Which of two numbers of threads does the same small piece of work sooner: found by doing it, some times with each, and again now
// and then. By a second core a step of one token was no sooner done on one machine, and took two thirds of its time on another of the
// same name.
// Pure.
import { median } from '../../figures/statistics.ts';

/** Times that each is judged by: their median, for any single one meets with something now and then. */
const TRIAL_STEPS = 9;
/** The better one is used so many times until the other is tried again: a thirtieth of the steps are trials. */
const HELD_STEPS = 256;
/** It must be sooner by this much to be changed to. */
const LEAST_GAIN = 0.05;

export class ThreadRace {
  #better: number;
  #other: number;
  /** Seconds, of the last steps with the better number; and of those with the other, while it is tried. */
  #usual: number[] = [];
  #tried: number[] = [];
  #untilTrial = TRIAL_STEPS;

  /** `usual`: taken for the better one until it is known. */
  constructor(usual: number, other: number) {
    this.#better = usual;
    this.#other = other;
  }

  /** For the next step. */
  get threads(): number {
    return this.#untilTrial > 0 ? this.#better : this.#other;
  }

  /** The step took so long with so many. */
  took(threads: number, seconds: number): void {
    if (threads !== this.threads) return;
    if (this.#untilTrial > 0) {
      this.#untilTrial -= 1;
      this.#usual = [...this.#usual, seconds].slice(-TRIAL_STEPS);
      return;
    }
    this.#tried.push(seconds);
    if (this.#tried.length === TRIAL_STEPS) this.#judge();
  }

  #judge(): void {
    if (median(this.#tried) < median(this.#usual) * (1 - LEAST_GAIN)) {
      [this.#better, this.#other] = [this.#other, this.#better];
      this.#usual = this.#tried;
    }
    this.#tried = [];
    this.#untilTrial = HELD_STEPS;
  }
}
