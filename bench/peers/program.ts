// Starts a program as a target to measure, and ends it. What it writes goes to a file: a pipe would have to be read, and
// the reading would cost. It must never outlive the benchmark.
import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { descendants, freePort, statusOf } from '../../gateway/test/e2e/harness.ts';
import { scratchFolder } from '../scratch.ts';
import { endWithThisProcess } from '../servers.ts';

/** A server that is up. Its process may have more below it. */
export interface Program {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly port: number;
  /** It is up once a GET of this answers 200. */
  readonly readyPath: string;
  readonly readyLimitMs?: number;
}

const READY_LIMIT_MS = 60_000;
const MOST_TOLD = 2_000;

/** Resolves when it is up; rejects with the end of what it wrote if it ends or is not up in time. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { name, command, args, env, port, readyPath, readyLimitMs = READY_LIMIT_MS } = options;
  const log = join(scratchFolder(), 'output.log');
  const output = openSync(log, 'w');
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', output, output] });
  endWithThisProcess(child);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const stop = async () => {
    const below = child.pid === undefined ? [] : descendants(child.pid);
    child.kill('SIGKILL');
    for (const pid of below) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended with its parent.
      }
    }
    await ended;
  };
  const until = Date.now() + readyLimitMs;
  while ((await statusOf(`http://127.0.0.1:${port}${readyPath}`)) !== 200) {
    const hasEnded = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    if (hasEnded || Date.now() > until) {
      await stop();
      const told = readFileSync(log, 'utf8').slice(-MOST_TOLD);
      throw new Error(`${name} ${hasEnded ? 'has ended' : 'did not get ready'}. Its last words:\n${told}`);
    }
    await sleep(50);
  }
  return { name, port, pid: child.pid!, stop };
}

/** Starts `bench/NAME.ts` with a free port as its first argument. */
export async function startBenchProgram(name: string, ...args: readonly number[]): Promise<Program> {
  const port = await freePort();
  const file = new URL(`../${name}.ts`, import.meta.url).pathname;
  return startProgram({
    name,
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', file, port, ...args].map(String),
    port,
    readyPath: '/health',
  });
}
