// How many attempts may be made on top of the calls that came: each is work that nobody asked for, and where back ends have
// too much to do it makes that worse. A token bucket: each call that runs puts a part of an attempt in.
// It must never read a clock: an idle server earns nothing.
// Pure.

export interface AttemptBudgetOptions {
  /** So many calls pay for one attempt. */
  readonly callsAnAttempt: number;
  /** Attempts that the bucket holds at most: what is not used is not saved up. */
  readonly most: number;
  /** Attempts that it holds at first. */
  readonly atFirst: number;
}

export class AttemptBudget {
  readonly #options: AttemptBudgetOptions;
  /** In calls, which are whole numbers: parts of attempts would not add up. */
  #calls: number;

  constructor(options: AttemptBudgetOptions) {
    this.#options = options;
    this.#calls = options.atFirst * options.callsAnAttempt;
  }

  /** A call runs. */
  earn(): void {
    const { callsAnAttempt, most } = this.#options;
    if (this.#calls < most * callsAnAttempt) this.#calls += 1;
  }

  /** 0 to 1: how full the bucket is. */
  get fill(): number {
    const { callsAnAttempt, most } = this.#options;
    return this.#calls / (most * callsAnAttempt);
  }

  /** Whether it holds one more attempt. */
  get hasOne(): boolean {
    return this.#calls >= this.#options.callsAnAttempt;
  }

  /** Whether one more attempt may be made. If so, it is paid for. */
  take(): boolean {
    if (!this.hasOne) return false;
    this.#calls -= this.#options.callsAnAttempt;
    return true;
  }
}
