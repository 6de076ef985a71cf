// Starts llama.cpp's own server out of a Python environment that has it, and makes sure that it is set up as it was told.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../e2e/harness.ts';

export const XLLAMACPP = '2026.10.11549';
const READY_LIMIT_MS = 60_000;

export interface LlamaServerOptions {
  /** The interpreter of an environment with `xllamacpp`. */
  readonly python: string;
  readonly modelFile: string;
  readonly slots: number;
  /** Window of each slot, in tokens. */
  readonly contextTokens: number;
  readonly threads: number;
  /** Memory for what was computed and has no slot any more, in MiB; absent: its own default, 8 GiB. */
  readonly promptCacheMib?: number | undefined;
}

export interface LlamaServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Resolves when it serves. Rejects if it did not take the options: nothing may rest on a server set up otherwise. */
export async function startLlamaServer(options: LlamaServerOptions): Promise<LlamaServer> {
  const { python, modelFile, slots, contextTokens, threads, promptCacheMib } = options;
  const port = await freePort();
  const script = new URL('./llama-server.py', import.meta.url).pathname;
  const numbers = [
    port,
    slots,
    contextTokens,
    threads,
    ...(promptCacheMib === undefined ? [] : [promptCacheMib]),
  ];
  const args = [script, modelFile, ...numbers.map(String)];
  // It ends when its input does: with us, however we end.
  const child = spawn(python, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  const exited = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  const until = Date.now() + READY_LIMIT_MS;
  try {
    for (;;) {
      if (child.exitCode !== null) throw new Error(`llama.cpp's server ended with ${child.exitCode}.`);
      const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.ok) break;
      if (Date.now() > until) throw new Error("llama.cpp's server did not get ready.");
      await sleep(100);
    }
    await check(port, options);
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { port, pid: child.pid!, stop };
}

/** By its own word. */
async function check(port: number, { slots, contextTokens }: LlamaServerOptions): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/slots`);
  const windows = ((await response.json()) as { n_ctx: number }[]).map(({ n_ctx }) => n_ctx);
  if (windows.length !== slots || windows.some((tokens) => tokens !== contextTokens)) {
    throw new Error(`llama.cpp's server has slots of ${windows} tokens, not ${slots} of ${contextTokens}.`);
  }
}
