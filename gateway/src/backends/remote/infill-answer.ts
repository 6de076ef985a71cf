// Reads an answer of llama.cpp's own dialect, which its server gives where it fills a gap: pieces of `content`, the last of
// them with `stop`. It must never take an answer without that last one for whole.
import type { Usage } from '../../core/chat.ts';
import { isAnswerError, statusOfError } from './answer-error.ts';
import { AnswerParts, tokenCount } from './answer-parts.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { type Members, membersOf, parseUpstream } from './upstream-json.ts';

export class InfillAnswer implements UpstreamAnswer {
  readonly #parts: AnswerParts;
  readonly #failure: AnswerOptions['failure'];

  constructor(options: AnswerOptions) {
    this.#parts = new AnswerParts(options);
    this.#failure = options.failure;
  }

  get isOver(): boolean {
    return this.#parts.isOver;
  }

  get isStopped(): boolean {
    return this.#parts.isStopped;
  }

  get isWhole(): boolean {
    return this.#parts.isWhole;
  }

  data(text: string): void {
    if (this.#parts.isOver) return;
    const piece = membersOf(parseUpstream(text));
    if (isAnswerError(piece)) throw this.#failure(statusOfError(piece), text);
    const { content, stop } = piece;
    if (typeof content === 'string' && content !== '') {
      this.#parts.start(piece.model);
      this.#parts.choice(0).text(content);
    }
    if (stop === true) {
      this.#parts.start(piece.model);
      this.#parts.choice(0).ended(isCut(piece) ? 'length' : 'stop', piece.stopping_word);
      this.#parts.finish(usageOf(piece));
    } else if (this.#parts.isStopped) this.#parts.finish(usageOf(piece));
  }

  /** Not streamed, it is the last piece alone, with all of the text. */
  whole(text: string): void {
    if (text.trim() !== '') this.data(text);
    this.end();
  }

  end(): void {
    this.#parts.end({});
  }
}

/** Its older versions say it by a field for each way to end. */
function isCut({ stop_type, stopped_limit }: Members): boolean {
  return stop_type === 'limit' || stopped_limit === true;
}

function usageOf({ tokens_evaluated, tokens_predicted, timings }: Members): Usage {
  return {
    promptTokens: tokenCount(tokens_evaluated),
    cachedTokens: tokenCount(membersOf(timings).cache_n),
    completionTokens: tokenCount(tokens_predicted),
  };
}
