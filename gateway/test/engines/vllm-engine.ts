// A real vLLM on this machine's processors, as an engine under test. It is made by vllm-cpu.sh, which takes minutes and
// gigabytes: so it is no part of `npm test`.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, statusOf } from '../e2e/harness.ts';
import { type Engine, metricSum } from './engine.ts';

export const VLLM = '0.32.0';
const SCRIPT = new URL('./vllm-cpu.sh', import.meta.url).pathname;
const FOLDER = new URL('../../../.test-parts/vllm', import.meta.url).pathname;
const MAKE_LIMIT_MS = 1_800_000;
const READY_LIMIT_MS = 300_000;
/** As vllm-cpu.sh starts it. */
const CONTEXT_TOKENS = 2048;
const SLOTS = 16;

export interface Vllm extends Engine {
  readonly pid: number;
  /** SIGKILL to all of its processes, as when a machine dies. */
  kill(): void;
}

/** Why it cannot run here; undefined if it can. */
export function missingVllm(): string | undefined {
  return existsSync(`${FOLDER}/model/config.json`)
    ? undefined
    : 'no vLLM: with SLUICE_TEST_VLLM=1 it is made once (6 GB of disk, some minutes)';
}

/** Makes it, if it is not there. `modelFile`: the weights, a GGUF file. */
export async function makeVllm(modelFile: string): Promise<void> {
  const child = spawn('bash', [SCRIPT, 'make', FOLDER, modelFile], {
    stdio: 'inherit',
    timeout: MAKE_LIMIT_MS,
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`vLLM could not be made: ${SCRIPT} ended with ${code}.`);
}

/** Resolves when it serves, which takes a minute or two. */
export async function startVllm(): Promise<Vllm> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  // It is several processes: they are a group, to be ended together.
  const child = spawn('bash', [SCRIPT, 'serve', FOLDER, String(port)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const tail = tailOf(child);
  const exited = once(child, 'exit');
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // It has ended before.
    }
  };
  process.once('exit', kill);
  const until = performance.now() + READY_LIMIT_MS;
  while ((await statusOf(`${origin}/health`)) !== 200) {
    if (child.exitCode === null && performance.now() < until) await sleep(500);
    else {
      kill();
      throw new Error(`vLLM did not get ready:\n${tail()}`);
    }
  }
  return {
    name: 'vLLM',
    pid: child.pid!,
    version: `${VLLM}, CPU`,
    kind: 'vllm',
    url: `${origin}/v1`,
    model: 'smollm2',
    contextTokens: CONTEXT_TOKENS,
    slots: SLOTS,
    continues: { continue_final_message: true, add_generation_prompt: false },
    key: undefined,
    // What it keeps is found again by who has the same salt.
    fresh: () => ({ key: undefined, body: { cache_salt: randomUUID() } }),
    tells: ['running'],
    running: () => metricSum(`${origin}/metrics`, 'vllm:num_requests_running'),
    kill,
    stop: async () => {
      kill();
      process.off('exit', kill);
      await exited;
    },
  };
}

/** The end of what it writes: its reason, if it does not start. */
function tailOf(child: ChildProcess): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => (text = (text + piece).slice(-4_000)));
  }
  return () => text;
}
