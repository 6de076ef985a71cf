// What processes have cost so far, as the kernel counts it: processor time and resident memory, of one or of one and
// all below it. It must never ask the process itself, so that every program is measured alike.
import { readdirSync, readFileSync } from 'node:fs';
import { descendants, rssOf } from '../gateway/test/e2e/harness.ts';

/** The kernel's clock tick in /proc, in seconds: 100 a second on every Linux that Node runs on. */
const TICK_SECONDS = 0.01;

/** User and system time since the process's start, in seconds. Throws if there is none. */
export function cpuSecondsOf(pid: number): number {
  const [user = 0, system = 0] = timesOf(pid);
  return (user + system) * TICK_SECONDS;
}

/** The same of the process and all below it, those included that have ended and were waited for. */
export function cpuSecondsOfTree(pid: number): number {
  return sumOfTree(pid, (one) => timesOf(one).reduce((sum, ticks) => sum + ticks)) * TICK_SECONDS;
}

/**
 * The same to the nanosecond, for what takes some hundredths of a second, where a tick is a tenth of it. Of threads that are alive:
 * neither they nor processes may end between two looks. Throws if there is no such process.
 */
export function runSecondsOfTree(pid: number): number {
  return sumOfTree(pid, runNanoseconds) / 1e9;
}

/** Resident memory of the process and all below it, in bytes; what they share is counted more than once. */
export function rssOfTree(pid: number): number {
  return sumOfTree(pid, rssOf);
}

/** In ticks: its own user and system time, then those of its children that have ended. */
function timesOf(pid: number): number[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is a name in brackets that may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).map(Number);
}

/** `schedstat` of a thread begins with its time on a processor, in ns. */
function runNanoseconds(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8'))
    .reduce((sum, stat) => sum + Number(stat.slice(0, stat.indexOf(' '))), 0);
}

function sumOfTree(pid: number, measure: (pid: number) => number): number {
  let sum = measure(pid);
  for (const child of descendants(pid)) {
    try {
      sum += measure(child);
    } catch {
      // It ended while we looked.
    }
  }
  return sum;
}
