// An attempt's limits of time at another server: to its first token, and of its silence after that. One timer a call, set
// again only when it fires: neither the first word nor a chunk costs more than a look at the clock.

// Not the global one, which is asked for through a getter each time.
import { performance } from 'node:perf_hooks';
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
  /** Of the wait for the first word, then of the silence. */
  #since = performance.now();
  #timer: NodeJS.Timeout;

  constructor(limits: AttemptLimits, onLate: (error: GatewayError) => void) {
    this.#limits = limits;
    this.#onLate = onLate;
    // Neither limit can be over sooner than the shorter one.
    this.#timer = setTimeout(() => this.#look(), Math.min(limits.firstTokenMs, limits.silenceMs));
  }

  /** A word of the answer came. */
  spoke(): void {
    if (this.#spoke) return;
    this.#spoke = true;
    this.#since = performance.now();
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
    const leftMs = this.#since + (this.#spoke ? silenceMs : firstTokenMs) - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#look(), leftMs);
      return;
    }
    const late = this.#spoke
      ? `The back end fell silent for ${silenceMs} ms in its answer.`
      : `The back end gave no first word in ${firstTokenMs} ms.`;
    this.#onLate(new GatewayError('backend_timeout', late));
  }
}
