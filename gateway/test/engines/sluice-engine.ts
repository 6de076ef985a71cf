// A second Sluice with the embedded engine, as an engine under test.
import { readFileSync } from 'node:fs';
import { metric, startSluice } from '../e2e/harness.ts';
import type { Engine } from './engine.ts';

const SLOTS = 2;
const CONTEXT_TOKENS = 1024;

/** Resolves when it serves. `modelFile`: a GGUF file. */
export async function startSecondSluice(modelFile: string): Promise<Engine> {
  const sluice = await startSluice({
    args: ['--model', modelFile],
    config: { engine: { slots: SLOTS, context: CONTEXT_TOKENS, threads: 1 } },
  });
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return {
    name: 'a second Sluice',
    version,
    kind: 'sluice',
    url: `${sluice.url}/v1`,
    model: 'deepseek-r1',
    contextTokens: CONTEXT_TOKENS,
    slots: SLOTS,
    continues: { continue_final_message: true, add_generation_prompt: false },
    afresh: {},
    tells: [],
    running: () => metric(sluice.url, 'sluice_requests_running'),
    stop: () => sluice.stop(),
  };
}
