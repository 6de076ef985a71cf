// A second Sluice with the embedded engine, as an engine under test.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { metric, startSluice } from '../e2e/harness.ts';
import type { Engine } from './engine.ts';

const SLOTS = 2;
const CONTEXT_TOKENS = 1024;
const KEYS = Array.from({ length: 100 }, (_, index) => `engine-key-${index}`);

/** Resolves when it serves. `modelFile`: a GGUF file. */
export async function startSecondSluice(modelFile: string): Promise<Engine> {
  const sluice = await startSluice({
    args: ['--model', modelFile],
    config: { engine: { batch_size: SLOTS, context: CONTEXT_TOKENS, threads: 1 } },
    env: { SLUICE_API_KEYS: KEYS.join(',') },
  });
  let used = 0;
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
    key: KEYS[0],
    // What it keeps of one tenant no other one gets.
    fresh: () => {
      used += 1;
      return { key: KEYS[used] ?? assert.fail('no fresh key is left'), body: {} };
    },
    tells: [],
    running: () => metric(sluice.url, 'sluice_requests_running'),
    stop: () => sluice.stop(),
  };
}
