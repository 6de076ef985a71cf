// The whole protocol between the gateway's process and the engine's: one tagged union each way.
// Plain data only, for the structured clone. It must never carry a function, a stack or a class instance.
import type { FinishReason, TokenLogprob, Usage } from '../../core/chat.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { LogLevel } from '../../core/log.ts';

/** What a model's file is for: to chat and to go on with texts, to make vectors of texts, or to judge documents. */
export type ModelPurpose = 'chat' | 'embed' | 'rerank';

export interface EngineSettings {
  readonly modelFile: string;
  /** The most calls at once: each has a window of its own. */
  readonly sequences: number;
  /** Fewer than `sequences`, at least one, where their windows would take more memory than this, in bytes. */
  readonly windowBytes?: number | undefined;
  /** Of each window, in tokens. */
  readonly contextTokens: number;
  readonly threads: number;
  /** As many while the machine does nothing else; `threads` or more. */
  readonly mostThreads: number;
  readonly gpu: 'auto' | false;
  /** The longest that running answers are to stand still while a new prompt is computed. */
  readonly busySeconds: number;
  /** Where computed prefixes are kept; only this user can look into it. */
  readonly stateFolder: string;
  /** Bound on what is kept there; 0 keeps nothing. */
  readonly stateBytes: number;
}

/** A message with its content joined to one text; `toolCalls` as the client sent them. */
export interface EngineMessage {
  readonly role: string;
  readonly content: string;
  readonly reasoning?: string | undefined;
  readonly name?: string | undefined;
  readonly toolCallId?: string | undefined;
  readonly toolCalls?: readonly unknown[] | undefined;
}

/** Tools that the model may call. */
export interface EngineTools {
  /** As the client sent them. */
  readonly definitions: readonly unknown[];
  /** At most one call in an answer. */
  readonly isSingle: boolean;
}

export type EnginePrompt =
  | {
      readonly kind: 'messages';
      readonly messages: readonly EngineMessage[];
      readonly enableThinking?: boolean | undefined;
      readonly tools?: EngineTools | undefined;
    }
  | {
      readonly kind: 'text';
      readonly text: string;
      /** Behind the gap that the answer is to fill. */
      readonly suffix?: string | undefined;
    };

/** All values but `logprobs` are set; 0 turns `topK` and `minP` off, 1 turns `topP` and `repetitionPenalty` off. */
export interface EngineSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  /** How many of the likeliest tokens to tell at each place, 0 to 20; absent: no probabilities are asked for. */
  readonly logprobs?: number | undefined;
}

/** A token and the natural logarithm of its probability, before the sampler's filters and temperature. */
export interface LikelyToken {
  readonly token: number;
  readonly logprob: number;
}

/** What the sampler chose, and with `EngineSampling.logprobs` how likely it and the likeliest were. */
export interface SampledToken {
  readonly token: number;
  readonly likely?: { readonly logprob: number; readonly top: readonly LikelyToken[] } | undefined;
}

/** What an answer's text must look like, as rules of a grammar in GBNF, named r1, r2, …; thinking is no part of it. */
export interface AnswerFormat {
  readonly rules: string;
  /** The rule of the text; undefined: any text, or none where `mustCall`. */
  readonly value?: string | undefined;
  /** Tools, each with the rule of its arguments. */
  readonly calls: readonly { readonly name: string; readonly entry: string }[];
  readonly mustCall: boolean;
}

/** What there is of an answer already: tokens of this model's own, or words that anybody wrote. */
export type BegunAnswer =
  | { readonly kind: 'ids'; readonly tokens: readonly number[] }
  | {
      readonly kind: 'words';
      readonly text: string;
      readonly reasoning: string;
      /** What of it counts towards `maxTokens`. */
      readonly pieces: number;
    };

export interface EngineCall {
  readonly call: number;
  readonly tenant: string;
  readonly prompt: EnginePrompt;
  readonly sampling: EngineSampling;
  readonly maxTokens?: number | undefined;
  readonly stop: readonly string[];
  readonly format?: AnswerFormat | undefined;
  /** It goes on behind this, and says nothing of it again. */
  readonly begun?: BegunAnswer | undefined;
  /** It takes one of the first so many sequences while one of them is free. */
  readonly among: number;
}

/** Texts, each for itself: to be made a vector of, or, with `query`, to be judged by it. */
export interface EngineTexts {
  readonly call: number;
  /** Never empty; a list of numbers is a text that the client made tokens of. */
  readonly inputs: readonly EngineText[];
  readonly query?: string | undefined;
  /** Numbers in each vector; absent: as many as the model makes. */
  readonly dimensions?: number | undefined;
}

export type EngineText = string | readonly number[];

export type ToChild =
  | { readonly type: 'load'; readonly settings: EngineSettings }
  | ({ readonly type: 'chat' } & EngineCall)
  | ({ readonly type: 'texts' } & EngineTexts)
  /** Its `end` tells how many tokens the prompt has; nothing is computed, and no sequence taken. */
  | { readonly type: 'count'; readonly call: number; readonly prompt: EnginePrompt }
  | { readonly type: 'cancel'; readonly call: number }
  | { readonly type: 'ping' }
  | { readonly type: 'exit' };

export interface EngineError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
}

/**
 * `tokens` are those since the call's last such event: they made its text, and what is still held back. `end` and `failed` are a call's last event, sent once its sequence is free; a cancelled call's is
 * `failed`.
 */
export type CallEvent =
  | {
      readonly type: 'text';
      readonly call: number;
      readonly text: string;
      readonly tokens: readonly number[];
      /** Of the tokens that `text` shows for the first time, where they were asked for. */
      readonly logprobs?: readonly TokenLogprob[];
    }
  | {
      readonly type: 'reasoning';
      readonly call: number;
      readonly text: string;
      readonly tokens: readonly number[];
    }
  | {
      readonly type: 'tool-call';
      readonly call: number;
      /** 0, 1, 2: which of the answer's calls. */
      readonly index: number;
      /** With its first piece. */
      readonly id?: string | undefined;
      readonly name?: string | undefined;
      /** A piece of the arguments. */
      readonly text: string;
      readonly tokens: readonly number[];
    }
  /** Of the call's next input, in their order; with a `query` a single number, 0 to 1, higher is better. */
  | { readonly type: 'vector'; readonly call: number; readonly vector: Float32Array }
  | {
      readonly type: 'end';
      readonly call: number;
      readonly reason: FinishReason;
      /** The stop string that was met. */
      readonly stop?: string | undefined;
      readonly usage: Usage;
    }
  | { readonly type: 'failed'; readonly call: number; readonly error: EngineError };

/** One engine step and all that came of it; without tokens it only carries events, and `seconds` is 0. */
export interface Step {
  readonly seconds: number;
  /** The batch of the running answers' next tokens, where there was one. */
  readonly batch?: { readonly answers: number; readonly seconds: number } | undefined;
  readonly decodedTokens: number;
  readonly prefillTokens: number;
  readonly events: readonly CallEvent[];
}

export type FromChild =
  | {
      readonly type: 'ready';
      readonly purpose: ModelPurpose;
      readonly contextTokens: number;
      readonly contextBytes: number;
      /** Calls at once. */
      readonly sequences: number;
      /** The model may think aloud. */
      readonly thinks: boolean;
    }
  | { readonly type: 'load-failed'; readonly message: string }
  | ({ readonly type: 'step' } & Step)
  | { readonly type: 'pong'; readonly rssBytes: number }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string };
