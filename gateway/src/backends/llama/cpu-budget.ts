// How many threads the engine may take.
// It must never take the last core: with fewer free cores than threads, ggml's spinning barrier makes all of them wait.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Cores that this process may use, by affinity and by the container's quota (cgroup v2); at least 1. */
export function usableCores(
  parallelism: number = availableParallelism(),
  readCpuMax: () => string = () => readFileSync('/sys/fs/cgroup/cpu.max', 'utf8'),
): number {
  let quota = Number.POSITIVE_INFINITY;
  try {
    const [allowed, period] = readCpuMax().trim().split(/\s+/).map(Number);
    if (allowed !== undefined && period !== undefined && allowed > 0 && period > 0) quota = allowed / period;
  } catch {
    // Not Linux, or no cgroup v2: the affinity is all there is to know.
  }
  return Math.max(1, Math.floor(Math.min(parallelism, quota)));
}

/** Above this many cores one thread more is not worth the risk: it could gain less than a third. */
const MOST_CORES_TO_FILL = 4;

/** What `thread-governor.ts` may go up to while the machine is idle but for the engine. */
export function mostThreads(cores: number = usableCores()): number {
  return cores <= MOST_CORES_TO_FILL ? cores : defaultThreads(cores);
}

/** One core is left to the network; on two cores, one thread was also the fastest as soon as anything else ran. */
export function defaultThreads(cores: number = usableCores()): number {
  return Math.max(1, cores - 1);
}
