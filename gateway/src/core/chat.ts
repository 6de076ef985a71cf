// The words of a text generation: what is asked, and the events an answer is made of.
// Wire-neutral: no HTTP, no JSON of any dialect, no vendor's field names.

export type Role = 'system' | 'developer' | 'user' | 'assistant' | 'tool';

/** A piece of a message. What is not text is carried as the client sent it, for back ends that can use it. */
export type ContentPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'other'; readonly kind: string; readonly value: unknown };

export interface Message {
  readonly role: Role;
  readonly content: string | readonly ContentPart[] | null;
  /** An earlier turn's thinking, where the client kept it. */
  readonly reasoning?: string | undefined;
  readonly name?: string | undefined;
  readonly toolCallId?: string | undefined;
  /** As the client sent them. */
  readonly toolCalls?: readonly unknown[] | undefined;
  /** Its fields that have no name above, untouched; never empty, and without nulls. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** What the model is to continue: a conversation that its template renders, or text as it stands. */
export type Prompt =
  | { readonly kind: 'messages'; readonly messages: readonly Message[] }
  | {
      readonly kind: 'text';
      readonly text: string;
      /** What stands behind the answer, which is to fill the gap between; never empty. Absent: the text goes on. */
      readonly suffix?: string | undefined;
    };

/** An absent value means: the model's own default. */
export interface Sampling {
  /** 0 to 2; 0 is greedy. */
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly seed?: number | undefined;
  /** -2 to 2, over the tokens generated so far. */
  readonly presencePenalty?: number | undefined;
  /** -2 to 2, over the tokens generated so far. */
  readonly frequencyPenalty?: number | undefined;
  /** 1 changes nothing. */
  readonly repetitionPenalty?: number | undefined;
}

/** The form that an answer's text must have. `original`: as the client sent it, for back ends that pass it on. */
export type ResponseFormat =
  | { readonly kind: 'text'; readonly original: unknown }
  /** Any JSON object. */
  | { readonly kind: 'json'; readonly original: unknown }
  /** JSON that a schema allows. `path`: where the client wrote the schema, for refusals. */
  | { readonly kind: 'schema'; readonly schema: unknown; readonly path: string; readonly original: unknown };

/** A function that the model may ask the client to call. */
export interface Tool {
  readonly name: string;
  /** JSON Schema of the arguments; undefined: any object. */
  readonly parameters: unknown;
  /** The arguments must keep to the schema; else the model only sees it. */
  readonly isStrict: boolean;
  /** Where the client wrote the schema. */
  readonly path: string;
  /** As the client sent it; what templates and other back ends get. */
  readonly original: unknown;
}

/** Whether the model calls tools: as it likes, not at all, at least one, or the one that is named. */
export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string };

export interface ChatRequest {
  /** As the client named it. */
  readonly model: string;
  readonly prompt: Prompt;
  readonly sampling: Sampling;
  /** Upper bound of generated tokens; absent: what the window leaves. May exceed the window: it is capped. */
  readonly maxTokens?: number | undefined;
  /** The answer ends before any of these; none is ever shown, not even in part. */
  readonly stop: readonly string[];
  /** How many answers to the one prompt. */
  readonly choices: number;
  /** For each token of the answer: how likely it was, and this many of the likeliest beside it. Absent: not asked. */
  readonly logprobs?: number | undefined;
  /** Absent: free text. */
  readonly responseFormat?: ResponseFormat | undefined;
  /** Never empty. */
  readonly tools?: readonly Tool[] | undefined;
  /** Absent: the model's own decision. What it names is among the tools. */
  readonly toolChoice?: ToolChoice | undefined;
  /** Several calls in one answer; absent: allowed. */
  readonly parallelToolCalls?: boolean | undefined;
  /**
   * The client's fields that have no name above, untouched (vendors' own). A back
   * end passes on what it can, and refuses by name what it cannot honour.
   */
  readonly extra: Readonly<Record<string, unknown>>;
  /** The client takes the answer whole: it may be made in one piece. */
  readonly isWhole?: boolean | undefined;
  /**
   * What there is of the answer already, from an earlier attempt or from the client: the back end goes on from there, and
   * repeats nothing of it. It has one choice, which has not ended. Its ids, or else its `pieces`, count towards
   * `maxTokens`. In the usage, ids count as the answer's tokens, and text as the prompt's.
   */
  readonly continueFrom?: PartialAnswer | undefined;
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter';

/** Token counts as the engine reports them. Unknown is `undefined`, never 0. */
export interface Usage {
  readonly promptTokens?: number | undefined;
  /** Of promptTokens: read from the KV cache instead of computed. */
  readonly cachedTokens?: number | undefined;
  readonly completionTokens?: number | undefined;
  /** Of completionTokens: spent on thinking. */
  readonly reasoningTokens?: number | undefined;
}

/**
 * One event of an answer. In order: `start`; deltas; one `choice-end` for each choice; exactly one `finish`.
 * Failure is never an event: it is thrown. A stream that ends without `finish` has failed.
 */
export type TokenEvent =
  | { readonly type: 'start'; readonly speaker: string }
  | {
      readonly type: 'text-delta';
      readonly choice: number;
      readonly text: string;
      readonly tokens?: TokenIds | undefined;
      /** Of the tokens that this text is the first to show, where they were asked for; never of thinking. */
      readonly logprobs?: readonly TokenLogprob[] | undefined;
    }
  | {
      readonly type: 'reasoning-delta';
      readonly choice: number;
      readonly text: string;
      readonly tokens?: TokenIds | undefined;
    }
  | {
      readonly type: 'tool-call-delta';
      readonly choice: number;
      /** 0, 1, 2: the call's place among its choice's calls. */
      readonly index: number;
      readonly id?: string | undefined;
      readonly name?: string | undefined;
      /** A piece of the arguments' JSON text: joined, never parsed. */
      readonly arguments: string;
      readonly tokens?: TokenIds | undefined;
    }
  | {
      readonly type: 'choice-end';
      readonly choice: number;
      readonly reason: FinishReason;
      /** Which of the request's stop strings ended it; absent: none did, or nobody knows. Only beside the reason `stop`. */
      readonly stop?: string | undefined;
    }
  | { readonly type: 'finish'; readonly usage: Usage };

/**
 * The model's own numbers of the tokens since the choice's last delta: they made its text, and what is still held back.
 * Of back ends that can go on from them.
 */
export type TokenIds = readonly number[];

/** A token and how likely the model held it to be, before temperature, filters and penalties. */
export interface TokenChance {
  /** What of it is no whole character reads as U+FFFD. */
  readonly token: string;
  /** Its UTF-8, where `token` cannot tell it: a part of a character. */
  readonly bytes?: readonly number[] | undefined;
  /** Natural; -9999 stands for "never". */
  readonly logprob: number;
}

/** A token of an answer. */
export interface TokenLogprob extends TokenChance {
  /** Where it begins in its choice's text, in characters: Unicode code points. */
  readonly offset: number;
  /** The likeliest tokens at its place, likeliest first: as many as were asked for. */
  readonly top: readonly TokenChance[];
}

/** A tool call as far as it came. */
export interface PartialToolCall {
  readonly id: string | undefined;
  readonly name: string | undefined;
  /** JSON text, perhaps cut. */
  readonly arguments: string;
}

export interface PartialChoice {
  readonly text: string;
  readonly reasoning: string;
  readonly toolCalls: readonly PartialToolCall[];
  /** Of all that came so far; absent where a delta came without. Only who made them can use them. */
  readonly tokens?: TokenIds | undefined;
  /**
   * Deltas so far: about as many tokens, where their ids are not known. What the client itself had begun is none.
   * Absent: not counted.
   */
  readonly pieces?: number | undefined;
  /** Of `pieces`: of thinking. */
  readonly reasoningPieces?: number | undefined;
  /** Of the tokens that `text` shows; absent where none came. */
  readonly logprobs?: readonly TokenLogprob[] | undefined;
  /** Absent while the choice has not ended. */
  readonly reason: FinishReason | undefined;
  /** The stop string that ended it, where that is known. */
  readonly stop?: string | undefined;
}

/** An answer as far as it came: a fold over its events. With `usage` it is whole. */
export interface PartialAnswer {
  readonly speaker: string | undefined;
  /** By choice number, without holes. */
  readonly choices: readonly PartialChoice[];
  readonly usage: Usage | undefined;
}

/** Takes an event at once and never blocks. It throws only when the stream's reader is gone or too slow. */
export type EventSink = (event: TokenEvent) => void;

/** Whether the event shows the client something that a model made: the first such stops the first-token clock. */
export function isDelta(
  event: TokenEvent,
): event is Extract<TokenEvent, { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' }> {
  return event.type === 'text-delta' || event.type === 'reasoning-delta' || event.type === 'tool-call-delta';
}

/** The text of a prompt, in UTF-16 units. */
export function promptUnits(prompt: Prompt): number {
  if (prompt.kind === 'text') return prompt.text.length + (prompt.suffix?.length ?? 0);
  let units = 0;
  for (const { content } of prompt.messages) {
    if (typeof content === 'string') units += content.length;
    else for (const part of content ?? []) if (part.type === 'text') units += part.text.length;
  }
  return units;
}
