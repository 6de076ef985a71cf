// The composition root: from a configuration to a server that listens. The only file that knows every module.
// It listens before the model is there, so that /readyz can say how far it is.
import { freemem } from 'node:os';
import { FakeBackend } from './backends/fake.ts';
import { type EngineReport, reportEngine } from './backends/llama/engine-report.ts';
import { LlamaBackend } from './backends/llama/llama-backend.ts';
import type { BackendAnswer } from './backends/remote/ask-backend.ts';
import { type FakeBackendConfig, isRemote, type RemoteBackendConfig } from './config/backends.ts';
import type { Config } from './config.ts';
import type { Backend } from './core/backend.ts';
import { systemClock } from './core/clock.ts';
import type { Log } from './core/log.ts';
import type { Readiness, ServedModel, World } from './core/world.ts';
import type { BackendStatus } from './edge/admin.ts';
import { HttpServer } from './edge/http-server.ts';
import { defaultHome } from './models/home.ts';
import { ModelStore } from './models/model-store.ts';
import type { OnProgress } from './models/progress.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import { KeyQuotas } from './scheduling/quota.ts';
import { Scheduler } from './scheduling/scheduler.ts';
import { allObservers, requestLog } from './telemetry/logger.ts';
import { Metrics } from './telemetry/metrics.ts';

export interface Startup {
  readonly log: Log;
  /** Lines for the person who started it, beside the log. */
  readonly say: (line: string) => void;
  readonly onProgress: OnProgress;
  /** Aborted to give up while the model is still on its way. */
  readonly signal: AbortSignal;
}

/** A server that listens. */
export interface RunningServer {
  readonly url: string;
  /** The models are there; rejects with what keeps them away. */
  readonly ready: Promise<World>;
  /** Serves by another configuration from now on, as far as a running server can. */
  apply(config: Config): void;
  /** Takes no new requests, lets those under way end, then closes. True if all of them ended in time. */
  drain(): Promise<boolean>;
  /** Ends everything now. */
  close(): Promise<void>;
}

/** Rejects with Node's own error if the address cannot be had. */
export async function startServer(config: Config, startup: Startup): Promise<RunningServer> {
  const { log } = startup;
  let world: World = { models: new Map(), keys: config.keys };
  let stage: 'starting' | 'serving' | 'draining' | 'failed' = 'starting';
  let stageReason = 'Sluice is starting.';
  let progress: number | undefined;
  const backends: Backend[] = [];

  const scheduler = new Scheduler({
    clock: systemClock,
    maxWaitingTokens: config.queue.max_tokens,
    maxWaitMs: config.queue.max_wait_ms,
  });
  const metrics = new Metrics({ backends: () => backends, queue: () => scheduler.snapshot() });
  const observer = allObservers(metrics, requestLog(log));
  const pipeline = new Pipeline({
    scheduler,
    observer,
    clock: systemClock,
    logBytes: config.replay_buffer_bytes,
    continuation: config.continuation,
  });
  const readiness = (): Readiness => {
    if (stage === 'draining') return { state: 'draining', reason: 'Sluice is shutting down.' };
    if (stage === 'failed') return { state: 'failed', reason: stageReason };
    if (stage === 'starting') return { state: 'starting', reason: stageReason, progress };
    return servingReadiness(backends);
  };
  const statuses = (): BackendStatus[] =>
    backends.map((backend) => {
      const settings = config.backends?.find(({ id }) => id === backend.id);
      return {
        backend,
        kind: settings?.kind ?? 'embedded',
        url: settings && isRemote(settings) ? settings.url : undefined,
        running: scheduler.runningOn(backend),
      };
    });
  const server = new HttpServer({
    pipeline,
    quotas: new KeyQuotas(systemClock),
    observer,
    clock: systemClock,
    log,
    world: () => world,
    readiness,
    metrics: () => metrics.render(),
    access: { corsOrigins: config.cors_origins },
    admin: config.adminKeyDigest && { keyDigest: config.adminKeyDigest, backends: statuses },
    bodyLimits: { maxBytes: config.body_limit_bytes, stallMs: config.body_timeout_ms },
    headerTimeoutMs: config.header_timeout_ms,
    keepAliveMs: config.keep_alive_ms,
    slowReaderLimitMs: config.slow_reader_limit_ms,
  });
  const { address, family, port } = await server.listen(config.host, config.port);

  const load = async (): Promise<World> => {
    const models = config.backends
      ? fakeModels(
          config,
          config.backends.filter((one) => one.kind === 'fake'),
          backends,
        )
      : [
          await embeddedModel(config, startup, backends, metrics.engineStep, (reason, part) => {
            stageReason = reason;
            progress = part;
          }),
        ];
    world = { ...world, models: new Map(models.map((model) => [model.id, model])) };
    stage = stage === 'starting' ? 'serving' : stage;
    return world;
  };
  const ready = load();
  ready.catch((thrown: unknown) => {
    stage = 'failed';
    stageReason = (thrown as Error).message;
  });
  const close = async () => {
    await server.close();
    await Promise.all(backends.map((backend) => backend.close()));
  };
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    ready,
    apply(next) {
      world = { ...world, keys: next.keys };
    },
    close,
    async drain() {
      stage = 'draining';
      const allEnded = await server.drain(config.drain_limit_ms);
      await close();
      return allEnded;
    },
  };
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

/** What the engine would be on this machine; rejects only with the signal's reason. */
export function inspectEngine(
  { engine }: Pick<Config, 'engine'>,
  signal: AbortSignal,
): Promise<EngineReport> {
  return reportEngine({ threads: engine.threads, gpu: engine.gpu, signal });
}

/** Asks a back end what it serves. Rejects with a GatewayError, or with the signal's reason. */
export async function askBackend(
  { env }: Pick<Config, 'env'>,
  backend: RemoteBackendConfig,
  signal: AbortSignal,
): Promise<BackendAnswer> {
  const remote = await import('./backends/remote/ask-backend.ts');
  return await remote.askBackend(backend, env, signal);
}

function servingReadiness(backends: readonly Backend[]): Readiness {
  const loads = backends.map((backend) => backend.load());
  if (loads.some(({ state }) => state === 'ready')) return { state: 'ready', reason: 'Sluice is ready.' };
  const reason = loads.find((load) => load.reason !== undefined)?.reason ?? 'No back end is up.';
  return { state: loads.some(({ state }) => state === 'loading') ? 'restarting' : 'failed', reason };
}

/** Fetches the model if it is not there, then loads it into the engine. */
async function embeddedModel(
  config: Config,
  { log, say, onProgress, signal }: Startup,
  backends: Backend[],
  engineStep: (seconds: number) => void,
  tell: (reason: string, progress: number | undefined) => void,
): Promise<ServedModel> {
  const { engine } = config;
  const model = await openStore(config, say).resolve(config.model, {
    signal,
    onProgress: (event) => {
      const part = event.totalBytes ? event.bytes / event.totalBytes : undefined;
      tell(`The model ${event.title} is on its way (${event.phase}).`, part);
      onProgress(event);
    },
  });
  tell(`The model ${model.title} is being loaded.`, undefined);
  const backend = new LlamaBackend({
    id: 'engine',
    modelFile: model.file,
    speaker: model.title,
    slots: engine.slots,
    contextTokens: engine.context,
    threads: engine.threads,
    gpu: engine.gpu,
    memoryLimitBytes: engine.memory_limit_mb === undefined ? undefined : engine.memory_limit_mb * 1024 * 1024,
    longestStepMs: engine.longest_step_ms,
    prefixCacheBytes: engine.prefix_cache_mb * 1024 * 1024,
    log,
    onStep: (step) => engineStep(step.seconds),
  });
  backends.push(backend);
  await backend.start();
  return {
    id: config.model_id,
    speaker: model.title,
    contextWindow: engine.context,
    licence: model.licence,
    created: Math.floor(Date.now() / 1000),
    backends: [backend],
  };
}

function fakeModels(
  config: Config,
  settings: readonly FakeBackendConfig[],
  backends: Backend[],
): ServedModel[] {
  for (const fake of settings) {
    backends.push(
      new FakeBackend({
        id: fake.id,
        slots: fake.slots,
        pieces: fake.pieces,
        reasoning: fake.reasoning,
        firstPieceMs: fake.first_token_ms,
        stepMs: fake.token_ms,
        failAfterPieces: fake.fail_after,
        stallAfterPieces: fake.stall_after,
      }),
    );
  }
  return [
    {
      id: config.model_id,
      speaker: 'fake (scripted words, no model)',
      contextWindow: undefined,
      licence: undefined,
      created: Math.floor(Date.now() / 1000),
      backends,
    },
  ];
}
