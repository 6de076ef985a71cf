// What the engine is on this machine, without a model: asked of a process of its own, because native code that crashes takes
// its process along. It must never load that code here, and never leave a process behind.
import { fork } from 'node:child_process';
import { defaultThreads, mostThreads, usableCores } from './cpu-budget.ts';

/** What the other process found. Plain data. */
export interface LoadedEngine {
  /** What computes: false is the processor. */
  readonly gpu: string | false;
  /** Of llama.cpp. */
  readonly release: string;
  /** The generation of processors that its kernels are made for; undefined where the build has but one. */
  readonly cpuVariant: string | undefined;
  /** Instruction sets that its kernels use. */
  readonly instructions: readonly string[];
  /** GPU builds that are installed, whether or not they can be used here. */
  readonly gpuBuilds: readonly string[];
}

export interface EngineReport {
  /** Cores that this process may use. */
  readonly cores: number;
  /** Threads that the engine takes. */
  readonly threads: number;
  /** And as many while nothing else runs here. */
  readonly mostThreads: number;
  readonly engine: LoadedEngine | undefined;
  /** Why there is no engine, in a sentence. */
  readonly reason: string | undefined;
}

export interface EngineQuestion {
  readonly threads?: number | undefined;
  readonly gpu: boolean;
  readonly signal: AbortSignal;
  /** Default 20 s: a cold disk takes its time. */
  readonly limitMs?: number;
  readonly childFile?: URL;
}

const LIMIT_MS = 20_000;
const KEPT_ERROR_CHARS = 4_096;
// Built code has no .ts files beside it.
const CHILD_FILE = new URL(
  `./engine-report-child.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`,
  import.meta.url,
);

/** Rejects only with the signal's reason. */
export async function reportEngine(question: EngineQuestion): Promise<EngineReport> {
  const { threads, gpu, signal, limitMs = LIMIT_MS, childFile = CHILD_FILE } = question;
  const cores = usableCores();
  const found = await ask(childFile, gpu || process.platform === 'darwin' ? 'auto' : false, signal, limitMs);
  signal.throwIfAborted();
  return {
    cores,
    threads: threads ?? defaultThreads(cores),
    mostThreads: threads ?? mostThreads(cores),
    engine: typeof found === 'string' ? undefined : found,
    reason: typeof found === 'string' ? found : undefined,
  };
}

/** Resolves to the reason where there is no engine. */
function ask(
  file: URL,
  gpu: 'auto' | false,
  signal: AbortSignal,
  limitMs: number,
): Promise<LoadedEngine | string> {
  const child = fork(file, {
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-KEPT_ERROR_CHARS);
  });
  return new Promise((resolve) => {
    let answer: LoadedEngine | undefined;
    let isLate = false;
    const kill = (): void => {
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => {
      isLate = true;
      kill();
    }, limitMs);
    const settle = (why: string): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      resolve(answer ?? (isLate ? `The engine did not load within ${limitMs / 1000} s.` : why));
    };
    if (signal.aborted) kill();
    signal.addEventListener('abort', kill, { once: true });
    child.on('message', (message) => {
      answer = message as LoadedEngine;
    });
    child.on('error', (thrown) => settle(`The engine's process cannot be started: ${thrown.message}.`));
    child.on('close', (code, killedBy) => {
      const last = errors.trim().split('\n').at(-1);
      settle(`The engine's native code cannot be loaded: ${last || killedBy || `exit code ${code}`}.`);
    });
    child.send({ gpu }, () => {});
  });
}
