// The share of the last seconds that the engine spent computing.
// It must never read a clock: times are passed in.
// Pure.

const WINDOW_MS = 5_000;

export class Utilization {
  private steps: { readonly endedAt: number; readonly busyMs: number }[] = [];
  private busyMs = 0;

  add(nowMs: number, seconds: number): void {
    this.steps.push({ endedAt: nowMs, busyMs: seconds * 1000 });
    this.busyMs += seconds * 1000;
    this.forget(nowMs);
  }

  /** 0 to 1. */
  share(nowMs: number): number {
    this.forget(nowMs);
    return this.steps.length === 0 ? 0 : Math.min(1, this.busyMs / WINDOW_MS);
  }

  private forget(nowMs: number): void {
    let old = 0;
    for (const step of this.steps) {
      if (nowMs - step.endedAt < WINDOW_MS) break;
      this.busyMs -= step.busyMs;
      old++;
    }
    if (old > 0) this.steps.splice(0, old);
  }
}
