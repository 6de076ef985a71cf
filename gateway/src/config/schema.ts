// What a configuration may hold: every name, its bounds, its default and a sentence for editors, in one schema.
// Pure: what needs the environment or another file is resolved elsewhere. Unknown keys are refused everywhere: a setting
// that is spelled wrong and silently ignored is found on the day of the surge.
import { z } from 'zod';
import { limitSettings } from './limits.ts';

/** The kinds of servers that can be a back end. */
export const REMOTE_KINDS = [
  'vllm',
  'sglang',
  'llama.cpp',
  'ollama',
  'siliconflow',
  'deepseek',
  'moonshot',
  'openai',
  'sluice',
  'generic',
] as const;
export type RemoteKind = (typeof REMOTE_KINDS)[number];

const TEMPLATES = ['deepseek-r1', 'deepseek-v3.2', 'deepseek-v4', 'qwen'] as const;
const LIMITS = ['fixed', 'aimd', 'gradient'] as const;
const MODEL_TYPES = ['chat', 'embedding', 'reranker'] as const;
const PRIORITIES = ['interactive', 'standard', 'batch'] as const;

const ms = z.int().min(1).max(86_400_000);
const count = z.int().min(1);
const guarantee = z.number().min(0.01).max(0.45);
const weight = z.number().min(0).max(1_000);
const backendId = z.string().min(1).max(64);
const modelId = z.string().min(1).max(200);
const secret = z.union([z.string().min(1), z.strictObject({ file: z.string().min(1) })], {
  error: `expected the secret, "\${VARIABLE}" or {file: PATH}`,
});

/** Of a million tokens. */
const perMillion = z.number().min(0).max(1_000_000);
const price = z
  .strictObject({
    input: perMillion.describe('Of a million tokens of prompts.'),
    output: perMillion.describe('Of a million tokens of answers.'),
    cached: perMillion
      .optional()
      .describe('Of a million tokens of prompts that need not be computed. Default: as input.'),
  })
  .optional()
  .describe('What it costs, in whatever currency you count in. Default: nothing.');

const fakeBackend = z.strictObject({
  kind: z.literal('fake').describe('Speaks a script, for tests and demos.'),
  id: backendId.optional().describe('Unique; default: fake.'),
  slots: count.max(100_000).optional().describe('Calls at once; default: 8, or those of its curve.'),
  curve: z
    .string()
    .min(1)
    .optional()
    .describe('Its times are those of a measured engine: the name of a curve, or a file.'),
  pieces: z
    .array(z.string().min(1))
    .min(1)
    .default(['This ', 'is ', 'the ', 'fake ', 'back ', 'end.'])
    .describe('What it says, a piece a step.'),
  reasoning: z.array(z.string().min(1)).optional().describe('What it thinks before, a piece a step.'),
  first_token_ms: z.int().min(0).max(600_000).default(50).describe('Until its first piece, in ms.'),
  token_ms: z.int().min(1).max(600_000).default(20).describe('From piece to piece, in ms.'),
  burst: count.max(10_000).default(1).describe('Pieces that come at once.'),
  fail_after: z.int().min(0).optional().describe('Breaks every answer after so many pieces.'),
  stall_after: z.int().min(0).optional().describe('Goes silent for good after so many pieces.'),
  price,
});

const embeddedBackend = z.strictObject({
  kind: z.literal('embedded').describe('The embedded engine; "model" and "engine" are its settings.'),
  id: backendId.optional().describe('Unique; default: engine.'),
  price,
});

const remoteBackend = z.strictObject({
  kind: z
    .enum(REMOTE_KINDS)
    .optional()
    .describe("What server it is; default: known from a cloud's host, else generic."),
  id: backendId.optional().describe('Unique; default: host and port of the url.'),
  url: z
    .string({
      error: (issue) =>
        issue.input === undefined ? 'every back end but fake and embedded needs one' : undefined,
    })
    .min(1)
    .describe(
      "The base of its API, as one would give it to OpenAI's client; /v1 is added where there is no path.",
    ),
  api_key: secret
    .optional()
    .describe(`Its key: \${VARIABLE} or {file: PATH}; a literal one works and is warned of.`),
  context_window: count.optional().describe('Tokens that prompt and answer share.'),
  slots: count
    .max(100_000)
    .optional()
    .describe('Calls at once; default: what it says itself, or that of its kind.'),
  limit: z
    .enum(LIMITS)
    .optional()
    .describe(
      'How many of these are used: all (fixed), or what its refusals (aimd) or its first tokens (gradient) show that it can take. Default: that of its kind.',
    ),
  think_tags: z.boolean().optional().describe('It leaves <think> in the text of its answers.'),
  template: z.enum(TEMPLATES).optional().describe('The chat template whose ways it shows.'),
  tool_markup: z
    .enum(['qwen'])
    .optional()
    .describe('It leaves tool calls in the text of its answers, in this markup.'),
  ignores_stop: z.boolean().optional().describe('It does not end an answer at a stop string.'),
  price,
});

const backend = z.discriminatedUnion('kind', [fakeBackend, embeddedBackend, remoteBackend]);

const limits = z.strictObject(limitSettings);

const trim = z.strictObject({
  max_tokens: count.describe('Tokens of a conversation that are kept, estimated.'),
  always: z.boolean().default(false).describe('Also where there is time for all of it.'),
});

const degrade = z.strictObject({
  smaller_model: modelId.optional().describe('Another model of this list, which answers in its place.'),
  shorter: count.optional().describe('The most tokens that an answer then has.'),
  spill: z
    .strictObject({
      backends: z
        .array(z.string().min(1))
        .min(1)
        .describe('Ids of back ends that serve it only then, preferred first. Each has a price.'),
      budget_per_day: z
        .number()
        .min(0)
        .describe('What may be spent there in 24 hours, in the currency of the prices.'),
    })
    .optional()
    .describe('Other back ends, within a budget.'),
});

const model = z.strictObject({
  id: modelId.describe('What clients put into "model".'),
  aliases: z.array(modelId).default([]).describe('Other names by which clients may ask for it.'),
  backends: z
    .array(
      z.union([z.string().min(1), z.array(z.string().min(1)).min(1)], {
        error: 'expected an id, or a list of ids',
      }),
    )
    .min(1)
    .optional()
    .describe(
      'Ids of back ends, preferred first; those of an inner list are equals. Default: all, in their order.',
    ),
  name: z
    .union([z.string().min(1), z.record(z.string(), z.string().min(1))], {
      error: 'expected a name, or a map from ids of back ends to names',
    })
    .optional()
    .describe('What the back ends call it, or a map by their ids. Default: as clients do.'),
  context_window: count.optional().describe('Tokens that prompt and answer share.'),
  first_token_objective_ms: ms
    .optional()
    .describe('When the first token is due, where a request does not say, in ms.'),
  coalesce: z
    .boolean()
    .default(false)
    .describe('Identical requests of one key at temperature 0 that are under way are computed once.'),
  answer_cache: z
    .strictObject({
      ttl_ms: ms.default(300_000).describe('How long an answer is kept, in ms.'),
      max_bytes: z
        .int()
        .min(1024)
        .default(64 * 1024 * 1024)
        .describe('Memory for kept answers, about; the ones not asked for longest go first.'),
    })
    .optional()
    .describe(
      'Whole answers at temperature 0 are kept, and given again to the same request of the same key.',
    ),
  trim: trim
    .optional()
    .describe(
      'Long conversations lose their oldest turns where a first token would come too late, or always.',
    ),
  degrade: degrade.optional().describe('What is given up of an answer before it is refused.'),
  pacing: z
    .boolean()
    .default(false)
    .describe('Streams leave evenly where a back end gives them in bursts; no piece is held over 250 ms.'),
  type: z
    .enum(MODEL_TYPES)
    .optional()
    .describe(
      'What the model is for, and for nothing else: to write, to make vectors of texts, or to judge documents by a query.',
    ),
  resumable: z
    .boolean()
    .default(false)
    .describe(
      'Its streams bear ids, and a client that lost one may come again for the rest, where a request does not say.',
    ),
  priority: z
    .enum(PRIORITIES)
    .optional()
    .describe(
      'The priority of its requests, where neither they nor their kind say. Default: streams interactive, others standard.',
    ),
  limits: limits.optional().describe('What all keys together may use of it.'),
});

const accessKey = z.strictObject({
  key: secret.describe(
    `The secret: \${VARIABLE}, {file: PATH}, or sha256: and the 64 hex digits of its hash.`,
  ),
  name: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Whose it is: for logs, and to keep what is computed for one apart from others.'),
  models: z.array(z.string().min(1)).min(1).optional().describe('The models it may use. Default: all.'),
  ...limitSettings,
  model_limits: z
    .record(z.string().min(1), limits)
    .optional()
    .describe('The same limits for single models, by their names: both hold.'),
  priority: z
    .enum(PRIORITIES)
    .optional()
    .describe('The highest priority that it may have. Default: interactive.'),
  weight: z
    .number()
    .min(0.01)
    .max(1_000)
    .default(1)
    .describe('Its share of what is computed where keys wait at once, against the others.'),
});

const engine = z.strictObject({
  batch_size: z
    .union([count.max(64), z.literal('auto')], { error: 'expected a number from 1 to 64, or auto' })
    .default(8)
    .describe('Answers that are computed at once; auto: as many as are worth it, found while it runs.'),
  context: z
    .int()
    .min(256)
    .max(1_048_576)
    .default(4096)
    .describe('Tokens of one conversation, prompt and answer.'),
  threads: count.max(256).optional().describe('Default: one less than the processors, at least one.'),
  memory_limit_mb: z.int().min(256).optional().describe('The engine is restarted above this.'),
  longest_step_ms: z
    .int()
    .min(50)
    .max(60_000)
    .default(330)
    .describe(
      'How long running answers may stand still while a new prompt is computed: longer is faster for the newcomer.',
    ),
  prefix_cache_mb: z
    .int()
    .min(0)
    .max(1_048_576)
    .default(256)
    .describe('Computed beginnings that several prompts share are kept up to this; 0 keeps none.'),
  gpu: z.boolean().default(false).describe('Use a GPU build of the engine if one is installed.'),
});

export const schema = z.strictObject({
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address to listen on; anything but loopback needs keys.'),
  port: z.int().min(0).max(65_535).default(8080).describe('Port to listen on; 0: any free one.'),
  model: z
    .string()
    .min(1)
    .optional()
    .describe('A GGUF file or a name of "sluice models list"; default: what suits the machine.'),
  model_id: modelId.default('deepseek-r1').describe('The id by which clients ask for the embedded model.'),
  engine: engine.prefault({}).describe('The embedded engine.'),
  backends: z.array(backend).min(1).optional().describe('Who computes; default: the embedded engine.'),
  models: z
    .array(model)
    .min(1)
    .optional()
    .describe('What clients can ask for; default: whatever the back ends serve.'),
  keys: z.array(accessKey).default([]).describe('Who may call.'),
  cors_origins: z
    .array(z.string().min(1))
    .default([])
    .describe('Web origins that may call from a browser; "*" is any.'),
  keep_alive_ms: ms.default(10_000).describe('Silence in a stream before a keep-alive.'),
  slow_reader_limit_ms: ms.default(30_000).describe('How long a client may stop reading.'),
  first_token_timeout_ms: ms
    .default(30_000)
    .describe("A back end's time to its first token; then the next one is asked."),
  silence_limit_ms: ms.default(30_000).describe('The longest silence of a back end after its first token.'),
  answer_timeout_ms: ms
    .default(600_000)
    .describe("A back end's time for an answer that it gives as one JSON."),
  probe_interval_ms: ms.default(15_000).describe('From one look at a back end to the next.'),
  hedge_after_ms: z
    .union([ms, z.literal('auto')], { error: 'expected a number of milliseconds, or auto' })
    .optional()
    .describe(
      "A stream without a first token is sent to a second back end after this, in ms, and the first to speak goes on; auto: later than 95 of 100 of that back end's own. Paid twice, for one call in 20 at most. Default: never.",
    ),
  continuation: z
    .boolean()
    .default(true)
    .describe('An answer that loses its back end in the middle goes on, where it can.'),
  replay_buffer_bytes: z
    .int()
    .min(4096)
    .default(1024 * 1024)
    .describe(
      'Bound on what one answer holds that its client has not read; of a resumable one, on what is kept of it.',
    ),
  resume_grace_ms: ms
    .default(30_000)
    .describe('How long a resumable answer is computed while nobody reads it.'),
  resume_keep_ms: ms.default(300_000).describe('How long a resumable answer is kept when it has ended.'),
  resume_memory_bytes: z
    .int()
    .min(0)
    .default(256 * 1024 * 1024)
    .describe(
      'Memory for all that is kept of resumable answers; the ones that ended first go first. 0: none is kept.',
    ),
  queue: z
    .strictObject({
      max_wait_ms: ms.default(60_000).describe('Longest wait for a slot.'),
      max_tokens: count
        .default(500_000)
        .describe('Tokens, prompts and expected answers, that may wait in each class.'),
      shares: z
        .strictObject({
          standard: guarantee.default(0.2).describe('Of the tokens, while such requests wait.'),
          batch: guarantee.default(0.05).describe('The same.'),
        })
        .prefault({})
        .describe('What lower classes get at least, 0.01 to 0.45; the highest has the rest.'),
    })
    .prefault({})
    .describe('Calls that wait for a slot.'),
  routing: z
    .strictObject({
      prefix: weight.default(3).describe('How much of the prompt it has computed before.'),
      load: weight.default(2).describe('How soon it is done with what it has, by its measured speed.'),
      kv_cache: weight.default(1).describe('How much room its KV cache has, where it says so.'),
      session: weight.default(1).describe('That it had the last request of the session.'),
      price: weight.default(1).describe('How little the call costs there.'),
    })
    .prefault({})
    .describe('What counts when a back end is chosen among equals, and how much; 0: not at all.'),
  body_limit_bytes: z
    .int()
    .min(1024)
    .max(1024 ** 3)
    .default(32 * 1024 * 1024)
    .describe('Largest request body.'),
  body_timeout_ms: ms.default(15_000).describe('Silence in a body before it is given up.'),
  header_timeout_ms: ms.default(15_000).describe("Time for a request's headers."),
  drain_limit_ms: ms.default(30_000).describe('How long streams may go on after SIGTERM.'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info').describe('What is logged.'),
});

/** A file's values, checked and with defaults filled in; secrets and references are still as they were written. */
export type Settings = z.output<typeof schema>;
export type RawBackend = z.output<typeof backend>;
export type RawModel = z.output<typeof model>;
export type RawModelType = (typeof MODEL_TYPES)[number];
export type RawPriority = (typeof PRIORITIES)[number];
export type RawPrice = z.output<typeof price>;
export type RawKey = z.output<typeof accessKey>;
export type RawSecret = z.output<typeof secret>;

/** The schema as editors understand it. */
export function configJsonSchema(): object {
  return { ...z.toJSONSchema(schema, { io: 'input', target: 'draft-7' }), title: 'Sluice configuration' };
}
