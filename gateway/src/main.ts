// The composition root: from a configuration to a server that listens. The only file that knows every module.
// It listens before the model is there, so that /readyz can say how far it is; back ends that are there serve meanwhile.
import { randomUUID } from 'node:crypto';
import { type EngineReport, reportEngine } from './backends/llama/engine-report.ts';
import { BackendRegistry } from './backends/registry.ts';
import type { BackendAnswer } from './backends/remote/ask-backend.ts';
import { type EmbeddedEngine, makeEngine, openStore } from './composition/embedded-engine.ts';
import { madeOf, makeBackend } from './composition/make-backend.ts';
import { makeWorld } from './composition/world.ts';
import { type BackendConfig, EMBEDDED_ID, isRemote, type RemoteBackendConfig } from './config/backends.ts';
import { type Config, usesEngine } from './config.ts';
import { systemClock } from './core/clock.ts';
import type { Log } from './core/log.ts';
import type { Readiness, World } from './core/world.ts';
import type { BackendStatus } from './edge/handlers/admin.ts';
import { HttpServer } from './edge/http-server.ts';
import { KeptAnswers } from './edge/resume/kept-answers.ts';
import type { OnProgress } from './models/progress.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import { MemoryQuotaStore } from './scheduling/memory-quota-store.ts';
import { KeyQuotas } from './scheduling/quota.ts';
import { Scheduler } from './scheduling/scheduler.ts';
import { allObservers, requestLog } from './telemetry/logger.ts';
import { Metrics } from './telemetry/metrics.ts';

export { openStore };

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
  /** Serves by another configuration from now on, as far as a running server can. Throws, and changes nothing, if it cannot. */
  apply(config: Config): void;
  /** Takes no new requests, lets those under way end, then closes. True if all of them ended in time. */
  drain(): Promise<boolean>;
  /** Ends everything now. */
  close(): Promise<void>;
}

const ENGINE_ALONE: readonly BackendConfig[] = [{ kind: 'embedded', id: EMBEDDED_ID }];

/** Rejects with Node's own error if the address cannot be had. */
export async function startServer(config: Config, startup: Startup): Promise<RunningServer> {
  const { log } = startup;
  const created = Math.floor(Date.now() / 1000);
  const instanceId = randomUUID();
  let current = config;
  let world: World = { models: new Map(), keys: config.keys };
  let stage: 'starting' | 'serving' | 'draining' | 'failed' = 'starting';
  let stageReason = 'Sluice is starting.';
  let progress: number | undefined;
  let engine: EmbeddedEngine | undefined;
  /** Not served yet, or served. */
  let starting: EmbeddedEngine | undefined;

  const registry = new BackendRegistry<BackendConfig>(
    (settings) => makeBackend(settings, { env: config.env, log, engine: () => engine }),
    log,
  );
  const scheduler = new Scheduler({
    clock: systemClock,
    maxWaitingTokens: config.queue.max_tokens,
    maxWaitMs: config.queue.max_wait_ms,
    shares: config.queue.shares,
    routing: { ...config.routing, kvCache: config.routing.kv_cache },
  });
  const kept = new KeptAnswers({
    clock: systemClock,
    graceMs: config.resume_grace_ms,
    keepMs: config.resume_keep_ms,
    bufferBytes: config.replay_buffer_bytes,
    memoryBytes: config.resume_memory_bytes,
  });
  const quotas = new KeyQuotas(new MemoryQuotaStore(systemClock));
  const metrics = new Metrics({
    backends: () => registry.open,
    queue: () => scheduler.snapshot(),
    placesOn: (backend) => scheduler.placesOn(backend),
    kept: () => kept,
    sockets: () => server.sockets,
    limits: () =>
      [...new Set(world.models.values())].flatMap((model) =>
        quotas.usesOf(model).map((use) => ({ model: model.id, ...use })),
      ),
  });
  const observer = allObservers(metrics, requestLog(log));
  const pipeline = new Pipeline({
    scheduler,
    observer,
    clock: systemClock,
    instanceId,
    logBytes: config.replay_buffer_bytes,
    continuation: config.continuation,
    hedgeAfter: config.hedge_after_ms,
  });
  const readiness = (): Readiness => {
    if (stage === 'draining') return { state: 'draining', reason: 'Sluice is shutting down.' };
    if (stage === 'failed') return { state: 'failed', reason: stageReason };
    if (stage === 'starting') return { state: 'starting', reason: stageReason, progress };
    return servingReadiness(registry);
  };
  const statuses = (): BackendStatus[] => {
    const settings = new Map(backendsIn(current).map((one) => [one.id, one]));
    return registry.open.map((backend) => {
      const own = settings.get(backend.id);
      return {
        backend,
        kind: own?.kind ?? 'removed',
        url: own && isRemote(own) ? own.url : undefined,
        running: scheduler.runningOn(backend),
      };
    });
  };
  const server = new HttpServer({
    pipeline,
    quotas,
    kept,
    observer,
    clock: systemClock,
    log,
    instanceId,
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

  /** What is there of the configuration is served. */
  const apply = (next: Config) => {
    // The engine of the start may be on its way; one that comes later is refused by who would have to make it.
    const isComing = usesEngine(config) && !engine;
    const there = backendsIn(next).filter(({ kind }) => kind !== 'embedded' || !isComing);
    if (there.length === 0) return;
    world = makeWorld(next, { set: registry.apply(there.map(madeOf)), engine, created });
    current = next;
    if (stage === 'starting') stage = 'serving';
  };
  const load = async (): Promise<World> => {
    apply(current);
    if (!usesEngine(config)) return world;
    const id = backendsIn(config).find(({ kind }) => kind === 'embedded')!.id;
    const made = await makeEngine(config, {
      ...startup,
      id,
      onStage: (reason, part) => {
        stageReason = reason;
        progress = part;
      },
      onStep: metrics.engineStep,
    });
    starting = made;
    await made.backend.start();
    engine = made;
    apply(current);
    return world;
  };
  const ready = load();
  ready.catch((thrown: unknown) => {
    // Without its engine, a server with other back ends serves on.
    if (stage === 'starting') stage = 'failed';
    stageReason = (thrown as Error).message;
  });
  const close = async () => {
    await server.close();
    await registry.close();
    await starting?.backend.close();
  };
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    ready,
    apply,
    close,
    async drain() {
      stage = 'draining';
      const allEnded = await server.drain(config.drain_limit_ms);
      await close();
      return allEnded;
    },
  };
}

/** What the engine would be on this machine; rejects only with the signal's reason. */
export function inspectEngine(
  { engine }: Pick<Config, 'engine'>,
  signal: AbortSignal,
): Promise<EngineReport> {
  return reportEngine({ threads: engine.threads, gpu: engine.gpu, signal });
}

/** Asks a back end once. Rejects with a GatewayError, or with the signal's reason. */
export async function askBackend(
  { env }: Pick<Config, 'env'>,
  backend: RemoteBackendConfig,
  signal: AbortSignal,
): Promise<BackendAnswer> {
  const remote = await import('./backends/remote/ask-backend.ts');
  return await remote.askBackend(backend, env, signal);
}

function backendsIn({ backends }: Config): readonly BackendConfig[] {
  return backends ?? ENGINE_ALONE;
}

function servingReadiness({ open }: BackendRegistry<BackendConfig>): Readiness {
  const loads = open.map((backend) => backend.load());
  if (loads.some(({ state }) => state === 'ready' || state === 'busy')) {
    return { state: 'ready', reason: 'Sluice is ready.' };
  }
  const reason = loads.find((load) => load.reason !== undefined)?.reason ?? 'No back end is up.';
  // Requests are taken all the same: each is told how long it would have to wait.
  const mayReturn = loads.some(({ state }) => state === 'loading' || state === 'down');
  return { state: mayReturn ? 'restarting' : 'failed', reason };
}
