// Progress for people: one bar that redraws itself on a terminal, else plain lines that a log file can hold.
// It writes only through the given function (stderr's, so that stdout stays clean), and never more than it must.
import type { PullProgress } from './progress.ts';

export interface ProgressRendererOptions {
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Width of the terminal, asked anew for each draw. */
  readonly columns?: () => number | undefined;
  readonly now?: () => number;
  /** Least time between two plain lines, in ms. */
  readonly lineEveryMs?: number;
}

export interface ProgressRenderer {
  show(progress: PullProgress): void;
  /** Takes the bar away; call it before anything else writes to the terminal, and at the end. */
  clear(): void;
}

const PHASES: Readonly<Record<PullProgress['phase'], string>> = {
  waiting: 'Waiting for another process:',
  downloading: 'Downloading',
  unpacking: 'Unpacking',
  checking: 'Checking',
  rewriting: 'Re-writing',
};

export function createProgressRenderer(options: ProgressRendererOptions): ProgressRenderer {
  const { write, isTerminal } = options;
  const now = options.now ?? (() => performance.now());
  const everyMs = options.lineEveryMs ?? 5_000;
  let drawn = false;
  let saidPhase: PullProgress['phase'] | undefined;
  let saidAt = 0;
  return {
    show(progress) {
      if (isTerminal) {
        // One column stays free: a full line would wrap, and the next draw would start a line too low.
        const width = Math.max(20, (options.columns?.() || 80) - 1);
        write(`\r\u001b[2K${barLine(progress, width)}`);
        drawn = true;
        return;
      }
      const at = now();
      const due =
        progress.phase !== saidPhase
          ? saidPhase === undefined || at - saidAt >= 1_000
          : at - saidAt >= everyMs;
      if (!due) return;
      saidPhase = progress.phase;
      saidAt = at;
      write(`${plainLine(progress)}\n`);
    },
    clear() {
      if (drawn) write('\r\u001b[2K');
      drawn = false;
    },
  };
}

/** 1.12 GB, 98 MB, 512 kB: powers of ten, as disks and downloads are sold. */
export function formatBytes(bytes: number): string {
  if (bytes >= 999_500_000) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 999_500) return `${(bytes / 1e6).toFixed(bytes < 9_950_000 ? 1 : 0)} MB`;
  if (bytes >= 1_000) return `${(bytes / 1e3).toFixed(0)} kB`;
  return `${Math.round(bytes)} B`;
}

/** 45 s, 3 min 20 s, 2 h 05 min. */
export function formatDuration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} min`;
}

function figures({ bytes, totalBytes, bytesPerSecond, etaMs }: PullProgress): string[] {
  const parts = [totalBytes ? `${formatBytes(bytes)} of ${formatBytes(totalBytes)}` : formatBytes(bytes)];
  if (bytesPerSecond) parts.push(`${formatBytes(bytesPerSecond)}/s`);
  if (etaMs !== undefined && etaMs > 0) parts.push(`${formatDuration(etaMs)} left`);
  return parts;
}

function share({ bytes, totalBytes }: PullProgress): number | undefined {
  return totalBytes ? Math.min(1, bytes / totalBytes) : undefined;
}

/** Rounded down: 100 % is said only of what is whole. */
function percent(part: number): string {
  return `${Math.floor(part * 100)}%`;
}

function plainLine(progress: PullProgress): string {
  const part = share(progress);
  const head = `${PHASES[progress.phase]} ${progress.model}`;
  return [part === undefined ? head : `${head} ${percent(part)}`, ...figures(progress)].join(', ');
}

function barLine(progress: PullProgress, width: number): string {
  const head = `${PHASES[progress.phase]} ${progress.model} `;
  const tail = ` ${figures(progress).join(', ')}`;
  const part = share(progress);
  const room = Math.min(30, width - head.length - tail.length - 7);
  if (part === undefined || room < 5) {
    return `${head}${part === undefined ? '' : percent(part)}${tail}`.slice(0, width);
  }
  const filled = Math.floor(part * room);
  return `${head}[${'#'.repeat(filled)}${'.'.repeat(room - filled)}] ${percent(part).padStart(4)}${tail}`;
}
