// Reads one streamed answer (server-sent events of OpenAI's dialects) and notes when its words came.
// It must never read a clock or a socket: text and times are passed in.
// Pure.

/** As the server counts; undefined: it did not say. */
export interface AnswerUsage {
  readonly tokens: number | undefined;
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
}

/** The parts of an event that are looked at. */
interface AnswerEvent {
  readonly error?: { readonly message?: string } | null;
  readonly usage?: {
    readonly completion_tokens?: number;
    readonly prompt_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly choices?: readonly {
    readonly text?: string;
    readonly finish_reason?: string | null;
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly reasoning?: string | null;
      readonly tool_calls?: readonly unknown[];
    };
  }[];
}

const BYTE_ORDER_MARK = '\ufeff';
/** Of one event, in characters: more than any server writes. */
const MOST_PENDING = 2 ** 22;
/** Of one answer: what never ends is no answer. */
const MOST_PIECES = 1_000_000;

export class AnswerReader {
  /** When each piece with words came, as it was told. Thoughts and tool calls are words, too. */
  readonly wordsAt: number[] = [];
  usage: AnswerUsage | undefined;
  /** The stream's own word that it failed. */
  error: string | undefined;
  finishReason: string | undefined;
  /** The stream's own word that nothing follows. */
  isDone = false;
  private isAtStart = true;
  /** Of a line that is not whole yet. */
  private rest = '';
  /** Of an event that is not whole yet. */
  private data: string | undefined;

  /** `text`: what came, cut anywhere. Throws on data that is no JSON, and on what has no end. */
  take(text: string, at: number): void {
    if (text === '') return;
    const from = this.isAtStart && text.startsWith(BYTE_ORDER_MARK) ? 1 : 0;
    this.isAtStart = false;
    const lines = (this.rest + text.slice(from)).split('\n');
    this.rest = lines.pop()!;
    for (const line of lines) this.line(line.endsWith('\r') ? line.slice(0, -1) : line, at);
    if (this.rest.length + (this.data?.length ?? 0) > MOST_PENDING) throw new Error('An event has no end.');
  }

  private line(line: string, at: number): void {
    if (line === '') {
      if (this.data) this.event(this.data, at);
      this.data = undefined;
    } else if (line.startsWith('data:')) {
      const data = line.slice(line[5] === ' ' ? 6 : 5);
      this.data = this.data === undefined ? data : `${this.data}\n${data}`;
    }
  }

  private event(data: string, at: number): void {
    if (data === '[DONE]') {
      this.isDone = true;
      return;
    }
    const { error, usage, choices }: AnswerEvent = JSON.parse(data);
    if (error) this.error = error.message ?? JSON.stringify(error);
    if (usage) {
      this.usage = {
        tokens: usage.completion_tokens,
        promptTokens: usage.prompt_tokens,
        cachedTokens: usage.prompt_tokens_details?.cached_tokens,
      };
    }
    const choice = choices?.[0];
    if (choice === undefined) return;
    this.finishReason = choice.finish_reason ?? this.finishReason;
    const { content, reasoning_content, reasoning, tool_calls } = choice.delta ?? {};
    if (!(content || reasoning_content || reasoning || choice.text || tool_calls?.length)) return;
    if (this.wordsAt.push(at) > MOST_PIECES) throw new Error('An answer has no end.');
  }
}

/** The longest silence between two words, of those that the time from `from` to `to` lies in or touches; 0 if none. */
export function longestGap(wordsAt: readonly number[], from = -Infinity, to = Infinity): number {
  let longest = 0;
  for (let index = 1; index < wordsAt.length; index += 1) {
    const [before, after] = [wordsAt[index - 1]!, wordsAt[index]!];
    if (after > from && before < to) longest = Math.max(longest, after - before);
  }
  return longest;
}
