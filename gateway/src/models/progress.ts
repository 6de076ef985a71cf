// How far a pull is. Sources count bytes; this turns counts into events with a rate and a time that is left.
// It never prints: see progress-renderer.ts.

export interface PullProgress {
  readonly model: string;
  readonly title: string;
  /** `waiting`: another process pulls it, and these are its figures. */
  readonly phase: 'waiting' | 'downloading' | 'unpacking' | 'checking' | 'rewriting';
  readonly bytes: number;
  readonly totalBytes?: number | undefined;
  /** Over the last seconds; absent while too little is known. */
  readonly bytesPerSecond?: number | undefined;
  /** Until this phase ends, in ms. */
  readonly etaMs?: number | undefined;
}

export type OnProgress = (progress: PullProgress) => void;

const WINDOW_MS = 5_000;
const EVERY_MS = 100;

export interface ProgressMeter {
  /** Starts a phase at `bytes`: those were there before and count for no rate. */
  begin(phase: PullProgress['phase'], bytes: number, totalBytes?: number): void;
  /** The phase's count now, not a difference. Cheap: at most ten events a second come of it. */
  at(bytes: number): void;
  /** Tells the last count even if it came too soon after the one before. */
  end(): void;
}

export function createProgressMeter(
  model: { readonly name: string; readonly title: string },
  onProgress: OnProgress,
  now: () => number = () => performance.now(),
): ProgressMeter {
  let phase: PullProgress['phase'] = 'downloading';
  let total: number | undefined;
  let latest = 0;
  let toldAt = 0;
  let toldBytes = -1;
  let samples: { at: number; bytes: number }[] = [];

  const tell = (at: number): void => {
    toldAt = at;
    toldBytes = latest;
    samples.push({ at, bytes: latest });
    while (samples.length > 2 && at - samples[0]!.at > WINDOW_MS) samples.shift();
    const first = samples[0]!;
    const span = at - first.at;
    const rate = span >= 500 ? ((latest - first.bytes) / span) * 1000 : undefined;
    const left = total === undefined ? undefined : Math.max(0, total - latest);
    onProgress({
      model: model.name,
      title: model.title,
      phase,
      bytes: latest,
      totalBytes: total,
      bytesPerSecond: rate,
      etaMs: rate && left !== undefined ? (left / rate) * 1000 : undefined,
    });
  };

  return {
    begin(newPhase, bytes, totalBytes) {
      phase = newPhase;
      total = totalBytes;
      latest = bytes;
      samples = [];
      tell(now());
    },
    at(bytes) {
      latest = bytes;
      const at = now();
      if (at - toldAt >= EVERY_MS) tell(at);
    },
    end() {
      if (latest !== toldBytes) tell(now());
    },
  };
}
