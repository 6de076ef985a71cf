// The servers that the surge is sent to: each as somebody would set it up for two cores, and Sluice with one thing at a
// time switched off. It must never give one side what another could have as well: file, window and cores are the same.
import { makeVllm, startVllm, VLLM } from '../gateway/test/engines/vllm-engine.ts';
import { LLAMA_CPP_PYTHON, startFastApiLlamaCpp } from './peers/fastapi-llama-cpp.ts';
import { startFastApiTransformers, TRANSFORMERS } from './peers/fastapi-transformers.ts';
import { startLlamaServer, XLLAMACPP } from './peers/llama-server.ts';
import { startSluice } from './servers.ts';

/** A server that is up. */
export interface Running {
  readonly port: number;
  /** What clients put into `model`. */
  readonly model: string;
  /** Of all that belongs to it; each may have more processes below it. */
  readonly pids: readonly number[];
  /** Calls that the embedded engine runs at once at this moment; other servers do not tell. */
  readonly tellsSlots: boolean;
  stop(): Promise<void>;
}

export interface Weights {
  /** GGUF, Q8_0. */
  readonly file: string;
  /** GGUF, as it was published: Q4_1. Absent: there is only the other. */
  readonly published: string | undefined;
}

export interface Side {
  readonly name: string;
  /** For pictures. */
  readonly short: string;
  /** What it is, with versions. */
  readonly title: string;
  readonly threads: string;
  readonly weights: string;
  /** Rejects where it cannot be had. */
  start(weights: Weights): Promise<Running>;
}

/** Of one conversation, everywhere. */
const CONTEXT_TOKENS = 1024;
const CORES = 2;
const SLOTS = 8;
const OBJECTIVE_MS = 500;
const MODEL = 'shop';
const OWN_THREADS = '1, and 2 while nothing else runs';

const Q8 = 'Q8_0';

export const transformers: Side = {
  name: 'fastapi-transformers',
  short: 'transformers',
  title: `FastAPI and transformers ${TRANSFORMERS}, one at a time`,
  threads: String(CORES),
  weights: 'float32, unpacked from Q8_0',
  start: async ({ file }) => {
    const { port, pid, stop } = await startFastApiTransformers({ modelFile: file, threads: CORES });
    return { port, model: MODEL, pids: [pid], tellsSlots: false, stop };
  },
};

export const llamaCppPython: Side = {
  name: 'fastapi-llama-cpp',
  short: 'llama-py',
  title: `FastAPI and llama-cpp-python ${LLAMA_CPP_PYTHON}, one at a time`,
  threads: String(CORES),
  weights: Q8,
  start: async ({ file }) => {
    const options = { modelFile: file, threads: CORES, contextTokens: CONTEXT_TOKENS };
    const { port, pid, stop } = await startFastApiLlamaCpp(options);
    return { port, model: MODEL, pids: [pid], tellsSlots: false, stop };
  },
};

/** `threads`: of its own; both cores, or one as Sluice's engine beside a load. */
function llamaServer(name: string, threads: number): Side {
  return {
    name,
    short: 'llama.cpp',
    title: `llama.cpp's server (xllamacpp ${XLLAMACPP}), ${SLOTS} slots`,
    threads: String(threads),
    weights: Q8,
    start: async ({ file }) => {
      const { port, pid, stop } = await startLlama(file, threads);
      return { port, model: MODEL, pids: [pid], tellsSlots: false, stop };
    },
  };
}

export const llamaServer2 = llamaServer('llama-server', CORES);
export const llamaServer1 = llamaServer('llama-server-1-thread', 1);

export const vllm: Side = {
  name: 'vllm',
  short: 'vLLM',
  title: `vLLM ${VLLM} on processors`,
  threads: '1 of OpenMP, and others of its own',
  weights: 'bfloat16, unpacked from Q8_0',
  start: async ({ file }) => {
    await makeVllm(file);
    const { url, model, pid, stop } = await startVllm();
    return { port: Number(new URL(url).port), model, pids: [pid], tellsSlots: false, stop };
  },
};

/** What Sluice's engine is given; each switch takes one thing away from it. */
interface Switches {
  readonly batchSize?: number | 'auto';
  readonly prefixCacheMb?: number;
  readonly coalesces?: boolean;
  readonly admits?: boolean;
  readonly isPublishedFormat?: boolean;
}

function sluiceSide(name: string, title: string, switches: Switches = {}): Side {
  const { batchSize = SLOTS, prefixCacheMb = 256, isPublishedFormat = false } = switches;
  return {
    name,
    short: 'Sluice',
    title,
    threads: OWN_THREADS,
    weights: isPublishedFormat ? 'Q4_1' : Q8,
    start: async ({ file, published }) => {
      const model = isPublishedFormat ? published : file;
      if (model === undefined) throw new Error('The weights as they were published are not here.');
      const { port, pid, stop } = await startSluice({
        model,
        log_level: 'silent',
        engine: { batch_size: batchSize, context: CONTEXT_TOKENS, prefix_cache_mb: prefixCacheMb },
        backends: [{ kind: 'embedded' }],
        models: [modelEntry(switches)],
      });
      return { port, model: MODEL, pids: [pid], tellsSlots: true, stop };
    },
  };
}

function modelEntry({ coalesces = true, admits = true }: Switches, name?: string): object {
  return {
    id: MODEL,
    ...(name !== undefined && { name }),
    ...(admits && { first_token_objective_ms: OBJECTIVE_MS }),
    ...(coalesces && { coalesce: true }),
  };
}

export const sluice = sluiceSide('sluice', 'Sluice with its embedded engine');

/** Sluice with its own engine, but for one thing each. */
export const SWITCHED_OFF: readonly Side[] = [
  sluiceSide('published-format', 'weights as published (Q4_1)', { isPublishedFormat: true }),
  sluiceSide('batch-1', 'no batching (batch_size 1)', { batchSize: 1 }),
  sluiceSide('batch-auto', 'batch_size auto', { batchSize: 'auto' }),
  sluiceSide('no-prefix-cache', 'no shared prefixes (prefix_cache_mb 0)', { prefixCacheMb: 0 }),
  sluiceSide('no-coalescing', 'no coalescing', { coalesces: false }),
  sluiceSide('no-admission', 'no objective for the first token: all may wait', { admits: false }),
];

/** Sluice in front of another side: it has no engine of its own, and takes nothing of the other's work away. */
function inFrontOf(side: Side, kind: 'llama.cpp' | 'vllm'): Side {
  return {
    ...side,
    name: `sluice+${side.name}`,
    short: `S. + ${side.short.replace('.cpp', '')}`,
    title: `Sluice in front of ${side.title}`,
    start: async (weights) => {
      const behind = await side.start(weights);
      try {
        const front = await startSluice({
          log_level: 'silent',
          backends: [{ id: 'behind', kind, url: `http://127.0.0.1:${behind.port}/v1` }],
          models: [modelEntry({}, behind.model)],
        });
        return {
          port: front.port,
          model: MODEL,
          pids: [front.pid, ...behind.pids],
          tellsSlots: false,
          stop: async () => {
            await front.stop();
            await behind.stop();
          },
        };
      } catch (thrown) {
        await behind.stop();
        throw thrown;
      }
    },
  };
}

export const sluiceBeforeLlama = inFrontOf(llamaServer2, 'llama.cpp');
export const sluiceBeforeVllm = inFrontOf(vllm, 'vllm');

function startLlama(file: string, threads: number) {
  return startLlamaServer({ modelFile: file, slots: SLOTS, contextTokens: CONTEXT_TOKENS, threads });
}
