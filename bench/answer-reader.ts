// Reads one streamed answer (server-sent events of the chat completions dialect) and notes when its words came.
// It must never read a clock or a socket: text and times are passed in.
// Pure.

export interface AnswerUsage {
  readonly tokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number | undefined;
}

export class AnswerReader {
  /** When each piece with words came, as it was told. */
  readonly wordsAt: number[] = [];
  usage: AnswerUsage | undefined;
  /** The stream's own word that it failed. */
  error: string | undefined;
  /** The stream's own word that it is complete. */
  isDone = false;
  private rest = '';

  /** `text`: what came, cut anywhere. Throws on data that is no JSON. */
  take(text: string, at: number): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop()!;
    for (const line of lines) if (line.startsWith('data:')) this.event(line.slice(5).trim(), at);
  }

  private event(data: string, at: number): void {
    if (data === '[DONE]') {
      this.isDone = true;
      return;
    }
    const event = JSON.parse(data);
    if (event.error) this.error = event.error.message ?? JSON.stringify(event.error);
    if (event.usage) {
      const { completion_tokens, prompt_tokens, prompt_tokens_details } = event.usage;
      this.usage = {
        tokens: completion_tokens,
        promptTokens: prompt_tokens,
        cachedTokens: prompt_tokens_details?.cached_tokens,
      };
    }
    if (event.choices?.[0]?.delta?.content) this.wordsAt.push(at);
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
