// Starts llama.cpp's own server as a target to compare with. It is fetched from PyPI into an environment of its own.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../gateway/test/e2e/harness.ts';
import { endWithThisProcess } from '../servers.ts';

export const XLLAMACPP = '2026.10.11549';
const READY_LIMIT_MS = 60_000;

export interface PeerOptions {
  readonly modelFile: string;
  readonly slots: number;
  /** Window of each slot. */
  readonly contextTokens: number;
  readonly threads: number;
}

export async function startLlamaServer(
  options: PeerOptions,
): Promise<{ port: number; stop(): Promise<void> }> {
  const { modelFile, slots, contextTokens, threads } = options;
  const port = await freePort();
  const script = new URL('./llama-server.py', import.meta.url).pathname;
  const args = [script, modelFile, ...[port, slots, contextTokens, threads].map(String)];
  const child = spawn(python(), args, { stdio: 'ignore' });
  endWithThisProcess(child);
  const until = Date.now() + READY_LIMIT_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`llama.cpp's server ended with ${child.exitCode}.`);
    const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
    if (response?.ok) break;
    if (Date.now() > until) throw new Error("llama.cpp's server did not get ready.");
    await sleep(100);
  }
  await check(port, options);
  const stop = () =>
    new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.kill('SIGKILL');
    });
  return { port, stop };
}

/** By its own word; throws if it did not take the options, so that no comparison rests on a server set up otherwise. */
async function check(port: number, { slots, contextTokens }: PeerOptions): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/slots`);
  const windows = ((await response.json()) as { n_ctx: number }[]).map(({ n_ctx }) => n_ctx);
  if (windows.length !== slots || windows.some((tokens) => tokens !== contextTokens)) {
    throw new Error(`llama.cpp's server has slots of ${windows} tokens, not ${slots} of ${contextTokens}.`);
  }
}

/** The interpreter of an environment that has the peer, made if need be. */
function python(): string {
  const folder = new URL('../../.test-parts/venv-peers', import.meta.url).pathname;
  const interpreter = `${folder}/bin/python`;
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'ignore' });
  if (!existsSync(interpreter)) run('python3', '-m', 'venv', folder);
  try {
    run(
      interpreter,
      '-c',
      `from importlib.metadata import version; assert version('xllamacpp') == '${XLLAMACPP}'`,
    );
  } catch {
    run(interpreter, '-m', 'pip', 'install', '--quiet', `xllamacpp==${XLLAMACPP}`);
  }
  return interpreter;
}
