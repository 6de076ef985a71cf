// An attempt's limits of time at another server: to its first token, and of its silence after that. One timer a call, set
// again only when it fires: a chunk costs no more than a look at the clock.
import { GatewayError } from '../../core/errors.ts';

export interface AttemptLimits {
  /** To the first word of the answer, in ms. */
  readonly firstTokenMs: number;
  /** The longest silence after it, in ms. */
  readonly silenceMs: number;
}

export class AttemptClock {
  readonly #limits: AttemptLimits;
  readonly #onLate: (error: GatewayError) => void;
  #spoke = false;
  #since = performance.now();
  #timer: NodeJS.Timeout;

  constructor(limits: AttemptLimits, onLate: (error: GatewayError) => void) {
    this.#limits = limits;
    this.#onLate = onLate;
    this.#timer = setTimeout(() => this.#look(), limits.firstTokenMs);
  }

  /** A word of the answer came. */
  spoke(): void {
    if (this.#spoke) return;
    this.#spoke = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), this.#limits.silenceMs);
  }

  /** Bytes came: a silence is over. Before the first word they count for nothing: a keep-alive is no answer. */
  heard(): void {
    if (this.#spoke) this.#since = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { firstTokenMs, silenceMs } = this.#limits;
    if (!this.#spoke) {
      this.#onLate(
        new GatewayError('backend_timeout', `The back end gave no first word in ${firstTokenMs} ms.`),
      );
      return;
    }
    const leftMs = this.#since + silenceMs - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#look(), leftMs);
      return;
    }
    this.#onLate(
      new GatewayError('backend_timeout', `The back end fell silent for ${silenceMs} ms in its answer.`),
    );
  }
}
