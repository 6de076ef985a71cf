// The part of the requests that failed lately: a window of time that moves by slices, so that it costs the same under any load.
// It reads no clock: times are handed in.

/** The window, and the pieces in which it moves. */
const WINDOW_MS = 5 * 60 * 1000;
const SLICE_MS = 10 * 1000;

/** Failures over all, in a window that moves by slices. */
export class ErrorRate {
  readonly #slices: { at: number; total: number; failed: number }[] = [];

  add(now: number, failed: boolean): void {
    const at = Math.floor(now / SLICE_MS);
    let slice = this.#slices.at(-1);
    if (slice?.at !== at) {
      slice = { at, total: 0, failed: 0 };
      this.#slices.push(slice);
      this.#forget(now);
    }
    slice.total += 1;
    if (failed) slice.failed += 1;
  }

  value(now: number): number {
    this.#forget(now);
    let total = 0;
    let failed = 0;
    for (const slice of this.#slices) {
      total += slice.total;
      failed += slice.failed;
    }
    return total === 0 ? 0 : failed / total;
  }

  #forget(now: number): void {
    const oldest = Math.floor((now - WINDOW_MS) / SLICE_MS);
    while (this.#slices[0] && this.#slices[0].at < oldest) this.#slices.shift();
  }
}
