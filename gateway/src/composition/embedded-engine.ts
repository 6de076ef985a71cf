// The embedded engine from a configuration: its model is found, or fetched where it is not there yet, and it is made.
// It is started by who made it, so that what cannot be loaded is told there.
import { freemem } from 'node:os';
import { LlamaBackend } from '../backends/llama/llama-backend.ts';
import type { Config } from '../config.ts';
import type { Log } from '../core/log.ts';
import { defaultHome } from '../models/home.ts';
import { ModelStore } from '../models/model-store.ts';
import type { OnProgress } from '../models/progress.ts';

/** The engine, and what its model is. */
export interface EmbeddedEngine {
  readonly backend: LlamaBackend;
  /** The model's name, as answers give it. */
  readonly speaker: string;
  /** SPDX id of the weights' licence, where known. */
  readonly licence: string | undefined;
  readonly contextWindow: number;
}

export interface EngineOptions {
  readonly id: string;
  readonly log: Log;
  /** Lines for the person who started it, beside the log. */
  readonly say: (line: string) => void;
  readonly onProgress: OnProgress;
  /** What it is at, in a sentence, and how far, 0 to 1. */
  readonly onStage: (reason: string, progress: number | undefined) => void;
  readonly onStep: (seconds: number) => void;
  /** Aborted to give up while the model is still on its way. */
  readonly signal: AbortSignal;
}

/** The store as the configuration places it. */
export function openStore(config: Pick<Config, 'env' | 'homedir'>, say: (line: string) => void): ModelStore {
  return new ModelStore({
    home: defaultHome(config.env, process.platform, config.homedir),
    env: config.env,
    say,
    freeMemoryBytes: freemem(),
  });
}

/** Rejects with what keeps the model away. */
export async function makeEngine(config: Config, options: EngineOptions): Promise<EmbeddedEngine> {
  const { engine } = config;
  const { id, log, say, signal, onStage, onStep } = options;
  const model = await openStore(config, say).resolve(config.model, {
    signal,
    onProgress: (event) => {
      const part = event.totalBytes ? event.bytes / event.totalBytes : undefined;
      onStage(`The model ${event.title} is on its way (${event.phase}).`, part);
      options.onProgress(event);
    },
  });
  onStage(`The model ${model.title} is being loaded.`, undefined);
  const backend = new LlamaBackend({
    id,
    modelFile: model.file,
    speaker: model.title,
    batchSize: engine.batch_size,
    contextTokens: engine.context,
    threads: engine.threads,
    gpu: engine.gpu,
    memoryLimitBytes: engine.memory_limit_mb === undefined ? undefined : engine.memory_limit_mb * 1024 * 1024,
    longestStepMs: engine.longest_step_ms,
    prefixCacheBytes: engine.prefix_cache_mb * 1024 * 1024,
    log,
    onStep: (step) => onStep(step.seconds),
  });
  return { backend, speaker: model.title, licence: model.licence, contextWindow: engine.context };
}
