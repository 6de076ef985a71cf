// Vendors are data: one row for each kind of server that speaks OpenAI's protocol, or nearly. What a row says was read in
// the vendor's own pages or tried on its server; a new vendor is a new row and its recorded bytes in a test.
// Pure: no input, no output.
import type { AdaptiveLimit } from '../../core/backend.ts';

export type VendorKind =
  | 'vllm'
  | 'sglang'
  | 'llama.cpp'
  | 'ollama'
  | 'siliconflow'
  | 'deepseek'
  | 'moonshot'
  | 'openai'
  | 'sluice'
  | 'generic';

/** The templates whose ways a server shows, where it leaves them to us. */
export type TemplateFamily = 'deepseek-r1' | 'deepseek-v3.2' | 'deepseek-v4' | 'qwen';

/** How a server is asked to go on with an answer that was begun: the text so far is the last message, an assistant's. */
export interface Prefill {
  /** Members of the request's body. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Members of that last message. */
  readonly message: Readonly<Record<string, unknown>>;
  /** Where it takes such requests, if not at its usual address: a path to put before the API's. */
  readonly pathPrefix?: string | undefined;
  /** Its answer begins with the text that it was given. */
  readonly repeats: boolean;
  /** It drops white space at the beginning of what it says. */
  readonly trims: boolean;
  /** The thinking so far can be given with it, in this field of the message; absent: a thought cannot go on. */
  readonly reasoningField?: 'reasoning_content' | undefined;
}

/**
 * How a server is asked to fill a gap: the text behind it in the field `suffix`, beside the prompt, or by llama.cpp's own
 * request.
 */
export type Infill =
  | {
      readonly way: 'suffix';
      /** Where it takes such requests, if not at its usual address: a path to put before the API's. */
      readonly pathPrefix?: string | undefined;
    }
  | { readonly way: 'llama.cpp' };

/** How a server is asked for vectors of texts: in OpenAI's words, or by Ollama's own request. */
export interface Embedding {
  readonly way: 'openai' | 'ollama';
  /** It is asked for base64, which costs less to read than the same numbers in JSON. */
  readonly base64: boolean;
  /** It takes the numbers of a text's tokens in its place. */
  readonly takesTokens: boolean;
}

/** How many calls at once a server is given. */
export type LimitKind = 'fixed' | AdaptiveLimit['kind'];

/** Where a server tells how much it has to do. */
export type LoadSource = 'vllm-metrics' | 'sglang-metrics' | 'llama.cpp-slots';

export interface Traits {
  readonly protocol: 'openai' | 'ollama';
  /** Calls at once, where the server does not say. */
  readonly slots: number;
  /** `fixed`: it takes as many at once as it has slots. Else that is found out: see scheduling/limits. */
  readonly limit: LimitKind;
  /** The field of an answer's length limit. */
  readonly limitField: 'max_tokens' | 'max_completion_tokens';
  /**
   * Earlier thinking in a conversation: `strip` it (some answer 400), keep it only in the turns that call tools (some
   * answer 400 without), or `keep` it as it is.
   */
  readonly historyReasoning: 'strip' | 'tool-turns' | 'keep';
  /** The field in which it takes earlier thinking. */
  readonly reasoningField: 'reasoning_content' | 'reasoning';
  /** It leaves `<think>` in the answer's text. */
  readonly thinkTags: boolean;
  /** The prompt ends inside a thought unless the client switches thinking off. */
  readonly beginsInReasoning: boolean;
  /** It leaves tool calls in the answer's text, in this markup. */
  readonly toolMarkup: 'qwen' | undefined;
  /** It does not end an answer at the client's stop strings. */
  readonly ignoresStop: boolean;
  /** It is asked for streams alone, also for clients that take their answer whole. */
  readonly streamsOnly: boolean;
  /** Several choices in one call. */
  readonly answersSeveral: boolean;
  /** `stream_options` that make it count; absent: it does not know the field. */
  readonly streamOptions: Readonly<Record<string, unknown>> | undefined;
  readonly prefill: Prefill | undefined;
  /** Absent: it fills no gaps, or would pass over the text behind them in silence. */
  readonly infill: Infill | undefined;
  readonly load: LoadSource | undefined;
  /** Where the model that it serves can; absent: it makes no vectors. */
  readonly embedding: Embedding | undefined;
  /** It judges documents (`/rerank`), where the model that it serves can. */
  readonly reranks: boolean;
  /** How it is asked to count a conversation's tokens; absent: it cannot be. */
  readonly tokenCount: 'vllm' | 'llama.cpp' | undefined;
  /** Its own switch for thinking, of the client's `enable_thinking`; `enable_thinking`: it has the same. */
  readonly thinkingSwitch: 'enable_thinking' | 'chat_template_kwargs' | 'thinking' | undefined;
  /** Our own headers of priority, deadline and id mean something to it. */
  readonly isSluice: boolean;
}

/** What a user can say of a back end that its kind does not. */
export interface TraitOverrides {
  readonly slots?: number | undefined;
  readonly limit?: LimitKind | undefined;
  readonly thinkTags?: boolean | undefined;
  readonly template?: TemplateFamily | undefined;
  readonly toolMarkup?: 'qwen' | undefined;
  readonly ignoresStop?: boolean | undefined;
}

const COUNTED = { include_usage: true };
/** vLLM's, SGLang's and our own: the last message is left open and is gone on with. */
const CONTINUE_FINAL: Prefill = {
  body: { continue_final_message: true, add_generation_prompt: false },
  message: {},
  repeats: false,
  trims: false,
};

/** Both ways at once, for servers of which nothing is known: one that knows neither says its answer from the beginning. */
const UNKNOWN_PREFILL: Prefill = { ...CONTINUE_FINAL, repeats: true };

const SUFFIX: Infill = { way: 'suffix' };

const EMBEDDING: Embedding = { way: 'openai', base64: true, takesTokens: true };

const GENERIC: Traits = {
  protocol: 'openai',
  slots: 256,
  // Nobody knows how many it really takes, but it refuses what is too much: as clouds do.
  limit: 'aimd',
  limitField: 'max_tokens',
  historyReasoning: 'strip',
  reasoningField: 'reasoning_content',
  thinkTags: false,
  beginsInReasoning: false,
  toolMarkup: undefined,
  ignoresStop: false,
  streamsOnly: false,
  answersSeveral: true,
  streamOptions: COUNTED,
  prefill: UNKNOWN_PREFILL,
  infill: undefined,
  load: undefined,
  tokenCount: undefined,
  embedding: { ...EMBEDDING, base64: false },
  reranks: true,
  thinkingSwitch: 'enable_thinking',
  isSluice: false,
};

const VENDORS: Readonly<Record<VendorKind, Traits>> = {
  generic: GENERIC,
  vllm: {
    ...GENERIC,
    // As many as it runs by default (`max_num_seqs`); what is above waits inside, and is not refused.
    limit: 'fixed',
    historyReasoning: 'keep',
    reasoningField: 'reasoning',
    streamOptions: { include_usage: true, continuous_usage_stats: true },
    prefill: CONTINUE_FINAL,
    embedding: EMBEDDING,
    load: 'vllm-metrics',
    tokenCount: 'vllm',
    thinkingSwitch: 'chat_template_kwargs',
  },
  sglang: {
    ...GENERIC,
    limit: 'fixed',
    historyReasoning: 'keep',
    prefill: CONTINUE_FINAL,
    load: 'sglang-metrics',
    thinkingSwitch: 'chat_template_kwargs',
  },
  'llama.cpp': {
    ...GENERIC,
    slots: 4,
    limit: 'fixed',
    // An answer as one JSON it computes to its end, whoever has left, and says the beginning that it was given once more.
    streamsOnly: true,
    answersSeveral: false,
    // An assistant's message at the end is gone on with: that is its default.
    prefill: { body: {}, message: {}, repeats: false, trims: false },
    infill: { way: 'llama.cpp' },
    embedding: EMBEDDING,
    load: 'llama.cpp-slots',
    tokenCount: 'llama.cpp',
    thinkingSwitch: 'chat_template_kwargs',
  },
  ollama: {
    ...GENERIC,
    embedding: { way: 'ollama', base64: false, takesTokens: false },
    reranks: false,
    protocol: 'ollama',
    slots: 4,
    limit: 'fixed',
    answersSeveral: false,
    prefill: { body: {}, message: {}, repeats: false, trims: false },
    infill: SUFFIX,
    thinkingSwitch: 'thinking',
  },
  siliconflow: {
    ...GENERIC,
    prefill: undefined,
    infill: SUFFIX,
    embedding: { ...EMBEDDING, takesTokens: false },
  },
  deepseek: {
    ...GENERIC,
    embedding: undefined,
    reranks: false,
    historyReasoning: 'tool-turns',
    answersSeveral: false,
    prefill: {
      body: {},
      message: { prefix: true },
      pathPrefix: '/beta',
      repeats: false,
      trims: false,
      reasoningField: 'reasoning_content',
    },
    infill: { way: 'suffix', pathPrefix: '/beta' },
    thinkingSwitch: 'thinking',
  },
  moonshot: {
    ...GENERIC,
    embedding: undefined,
    reranks: false,
    limitField: 'max_completion_tokens',
    // It answers 400 where a turn that called tools comes without its thinking; of the rest it takes what it wants.
    historyReasoning: 'keep',
    answersSeveral: false,
    prefill: { body: {}, message: { partial: true }, repeats: false, trims: false },
    thinkingSwitch: 'thinking',
  },
  openai: {
    ...GENERIC,
    embedding: EMBEDDING,
    reranks: false,
    limitField: 'max_completion_tokens',
    prefill: undefined,
    infill: SUFFIX,
    thinkingSwitch: undefined,
  },
  sluice: {
    ...GENERIC,
    historyReasoning: 'keep',
    prefill: CONTINUE_FINAL,
    infill: SUFFIX,
    embedding: EMBEDDING,
    isSluice: true,
  },
};

export function traitsOf(kind: VendorKind, overrides: TraitOverrides = {}): Traits {
  const traits = VENDORS[kind];
  const { template } = overrides;
  return {
    ...traits,
    ...(template && TEMPLATES[template]),
    slots: overrides.slots ?? traits.slots,
    limit: overrides.limit ?? traits.limit,
    thinkTags: overrides.thinkTags ?? traits.thinkTags,
    toolMarkup: overrides.toolMarkup ?? traits.toolMarkup,
    ignoresStop: overrides.ignoresStop ?? traits.ignoresStop,
  };
}

const TEMPLATES: Readonly<Record<TemplateFamily, Partial<Traits>>> = {
  'deepseek-r1': { historyReasoning: 'strip', beginsInReasoning: true },
  'deepseek-v3.2': { historyReasoning: 'tool-turns' },
  'deepseek-v4': { historyReasoning: 'tool-turns' },
  qwen: { historyReasoning: 'strip' },
};
