// A back end from its part of a configuration. What it is made of is all in there, so that an equal part needs no new one.
import { FakeBackend } from '../backends/fake.ts';
import { RemoteBackend } from '../backends/remote/remote-backend.ts';
import { type BackendConfig, type FakeBackendConfig, isRemote } from '../config/backends.ts';
import type { Environment } from '../config.ts';
import type { Backend } from '../core/backend.ts';
import type { Log } from '../core/log.ts';
import type { EmbeddedEngine } from './embedded-engine.ts';

export interface MakeOptions {
  /** Where proxies are named. */
  readonly env: Environment;
  readonly log: Log;
  /** The engine, which is made once and stays; absent: it is not there. */
  readonly engine: () => EmbeddedEngine | undefined;
}

/** What a back end is made of: its price is not, so that a new one costs it neither its calls nor what was measured of it. */
export function madeOf({ price: _price, ...config }: BackendConfig): BackendConfig {
  return config;
}

/** Throws when the embedded engine is asked for and is not there: it comes with a start only. */
export function makeBackend(config: BackendConfig, { env, log, engine }: MakeOptions): Backend {
  if (config.kind === 'fake') return fakeBackend(config);
  if (!isRemote(config)) {
    const made = engine()?.backend;
    if (made && made.load().state !== 'closed') return made;
    throw new Error('the embedded engine can only be added at a start');
  }
  const { id, url, kind, apiKey, contextWindow, overrides, limits } = config;
  const backend = new RemoteBackend({ id, url, kind, apiKey, contextWindow, overrides, ...limits, env, log });
  backend.start();
  return backend;
}

function fakeBackend(config: FakeBackendConfig): FakeBackend {
  return new FakeBackend({
    id: config.id,
    slots: config.slots,
    curve: config.curve,
    pieces: config.pieces,
    reasoning: config.reasoning,
    firstPieceMs: config.first_token_ms,
    stepMs: config.token_ms,
    burst: config.burst,
    failAfterPieces: config.fail_after,
    stallAfterPieces: config.stall_after,
  });
}
