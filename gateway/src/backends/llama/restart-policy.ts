// When a process that died is started again, and when it is not.
// It must never read a clock: times are passed in.
// Pure.

const DELAYS_MS = [0, 100, 300, 1_000, 3_000, 5_000] as const;
const MOST_UNPRODUCTIVE = 5;
const MOST_IN_WINDOW = 100;
const WINDOW_MS = 600_000;
/** An idle process that was ready for this long did not die of its start. */
const LONG_LIFE_MS = 60_000;

/** Gives up after 5 deaths in a row without a decoded step in between, or 100 deaths in 10 minutes. */
export class RestartPolicy {
  private unproductive = 0;
  private deaths: number[] = [];

  /** How long to wait before the next start, in ms; undefined: give up. `livedMs` counts from being ready. */
  afterDeath(nowMs: number, decodedAnything: boolean, livedMs: number): number | undefined {
    this.deaths = this.deaths.filter((at) => nowMs - at < WINDOW_MS);
    this.deaths.push(nowMs);
    if (decodedAnything || livedMs >= LONG_LIFE_MS) this.unproductive = 0;
    else this.unproductive++;
    if (this.unproductive >= MOST_UNPRODUCTIVE || this.deaths.length >= MOST_IN_WINDOW) return undefined;
    return DELAYS_MS[Math.min(this.unproductive, DELAYS_MS.length - 1)];
  }
}
