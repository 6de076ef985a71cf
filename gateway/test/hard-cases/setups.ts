// Each case's `setup`, which the file tells in words, as configuration. What is not here is played on one back end of the
// kind `generic` that serves the model `case`.
import type { Setup } from './stage.ts';

export const SETUPS: Readonly<Record<string, Setup>> = {
  'sse-glued-frame': {},
  'ndjson-split': { backends: { a: { kind: 'ollama' } } },
  'end-cut-midway': {},
  'slot-leak': { config: { keys: [{ key: 'k1', name: 'one', models: ['case'], max_parallel: 1 }] } },
  'retry-only-when-safe': { config: { first_token_timeout_ms: 1_000 } },
  'breaker-ignores-4xx': {},
  'stall-then-failover': {
    backends: { a: {}, b: {} },
    config: { continuation: true, silence_limit_ms: 1_000 },
  },
  'hedge-loser-stops': { backends: { a: {}, b: {} }, config: { hedge_after_ms: 300 } },
  'think-tag-split': { backends: { a: { think_tags: true } } },
  'think-off-json': { backends: { a: { think_tags: true, template: 'deepseek-r1' } } },
  'reasoning-in-history': { backends: { a: { template: 'deepseek-v4' } } },
  'tool-after-think': { backends: { a: { think_tags: true, tool_markup: 'qwen', template: 'qwen' } } },
  'stop-straddles': { backends: { a: { ignores_stop: true } } },
  'lone-surrogate': { model: 'deepseek-r1' },
  'null-is-absent': { model: 'deepseek-r1' },
  'prompt-silently-cut': { backends: { a: { kind: 'ollama', context_window: 4_096 } } },
  'model-id-not-ascii': { model: '深度求索/deepseek-chat' },
  'cors-preflight': { config: { cors_origins: ['https://app.example'] } },
  'auth-scheme-case': { env: { SLUICE_API_KEYS: 'k1' } },
  'retry-after-passes': {},
  'ratelimit-headers-streamed': {
    model: 'deepseek-r1',
    config: { keys: [{ key: 'k1', name: 'one', rpm: 10 }] },
  },
  'siliconflow-429': { backends: { a: { kind: 'siliconflow' } } },
  'silent-prefill': { config: { keep_alive_ms: 1_000 } },
  'reader-stalls': { config: { slow_reader_limit_ms: 2_000 } },
  'prefix-hot-spot': { backends: { a: { slots: 4 }, b: { slots: 4 } }, tiers: [['a', 'b']] },
};
