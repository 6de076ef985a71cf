// The gateways in front of an engine under test, and the list of what is checked through them.
import { startSluice } from '../e2e/harness.ts';
import { ANSWER_CHECKS } from './answer-checks.ts';
import { ADMIN_KEY, type EngineCheck, type Ground, keySetting, keyVariable } from './check.ts';
import type { Engine } from './engine.ts';
import { FAILURE_CHECKS } from './failure-checks.ts';

export const CHECKS: readonly EngineCheck[] = [...ANSWER_CHECKS, ...FAILURE_CHECKS];

export interface Front extends Ground {
  /** Ends the gateways, not the engine. */
  stop(): Promise<void>;
}

export async function startFront(engine: Engine): Promise<Front> {
  const { url, kind, key } = engine;
  const [gateway, bare] = await Promise.all([
    startSluice({
      config: { backends: [{ id: 'engine', url, kind, ...keySetting(key) }], probe_interval_ms: 200 },
      env: { SLUICE_ADMIN_KEY: ADMIN_KEY, ...keyVariable(key) },
    }),
    startSluice({ args: ['--backend', url], env: key === undefined ? {} : { SLUICE_BACKEND_API_KEY: key } }),
  ]);
  const stop = async () => {
    await Promise.all([gateway.stop(), bare.stop()]);
  };
  return { engine, gateway, bare, stop };
}
