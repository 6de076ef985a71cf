// The gateways in front of an engine under test, and the list of what is checked through them.
import { startSluice } from '../e2e/harness.ts';
import { ANSWER_CHECKS } from './answer-checks.ts';
import { ADMIN_KEY, type EngineCheck, type Ground } from './check.ts';
import type { Engine } from './engine.ts';
import { FAILURE_CHECKS } from './failure-checks.ts';

export const CHECKS: readonly EngineCheck[] = [...ANSWER_CHECKS, ...FAILURE_CHECKS];

export interface Front extends Ground {
  /** Ends the gateways, not the engine. */
  stop(): Promise<void>;
}

export async function startFront(engine: Engine): Promise<Front> {
  const { url, kind } = engine;
  const [gateway, bare] = await Promise.all([
    startSluice({
      config: { backends: [{ id: 'engine', url, kind }], probe_interval_ms: 200 },
      env: { SLUICE_ADMIN_KEY: ADMIN_KEY },
    }),
    startSluice({ args: ['--backend', url] }),
  ]);
  const stop = async () => {
    await Promise.all([gateway.stop(), bare.stop()]);
  };
  return { engine, gateway, bare, stop };
}
