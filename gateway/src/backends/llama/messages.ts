// The whole protocol between the gateway's process and the engine's: one tagged union each way.
// Plain data only, for the structured clone. It must never carry a function, a stack or a class instance.
import type { FinishReason, Usage } from '../../core/chat.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { LogLevel } from '../../core/log.ts';

export interface EngineSettings {
  readonly modelFile: string;
  readonly slots: number;
  /** Window of each slot, in tokens. */
  readonly contextTokens: number;
  readonly threads: number;
  readonly gpu: 'auto' | false;
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

export type EnginePrompt =
  | {
      readonly kind: 'messages';
      readonly messages: readonly EngineMessage[];
      readonly enableThinking?: boolean | undefined;
    }
  | { readonly kind: 'text'; readonly text: string };

/** All values are set; 0 turns `topK` and `minP` off, 1 turns `topP` and `repetitionPenalty` off. */
export interface EngineSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
}

export interface EngineCall {
  readonly call: number;
  readonly tenant: string;
  readonly prompt: EnginePrompt;
  readonly sampling: EngineSampling;
  readonly maxTokens?: number | undefined;
  readonly stop: readonly string[];
}

export type ToChild =
  | { readonly type: 'load'; readonly settings: EngineSettings }
  | ({ readonly type: 'chat' } & EngineCall)
  | { readonly type: 'cancel'; readonly call: number }
  | { readonly type: 'ping' }
  | { readonly type: 'exit' };

export interface EngineError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
}

/** `end` and `failed` are a call's last event, sent once its sequence is free; a cancelled call's is `failed`. */
export type CallEvent =
  | { readonly type: 'text' | 'reasoning'; readonly call: number; readonly text: string }
  | { readonly type: 'end'; readonly call: number; readonly reason: FinishReason; readonly usage: Usage }
  | { readonly type: 'failed'; readonly call: number; readonly error: EngineError };

/** One engine step and all that came of it; without tokens it only carries events, and `seconds` is 0. */
export interface Step {
  readonly seconds: number;
  readonly decodedTokens: number;
  readonly prefillTokens: number;
  readonly events: readonly CallEvent[];
}

export type FromChild =
  | { readonly type: 'ready'; readonly contextTokens: number; readonly contextBytes: number }
  | { readonly type: 'load-failed'; readonly message: string }
  | ({ readonly type: 'step' } & Step)
  | { readonly type: 'pong'; readonly rssBytes: number }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string };
