// Reads an answer in a server's own dialect that comes in pieces, a JSON object each, the last of which says that it is the
// last. It must never take an answer without that last one for whole.
import type { Usage } from '../../core/chat.ts';
import { isAnswerError, statusOfError } from './answer-error.ts';
import { AnswerParts } from './answer-parts.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { type Members, membersOf, parseUpstream } from './upstream-json.ts';

/** What the dialects differ in. */
export interface PieceDialect {
  /** Gives to `parts` what a piece says; `text` is the piece as it came. */
  readonly say: (piece: Members, parts: AnswerParts, text: string) => void;
  /** Why the answer ended, in the server's word; undefined: the piece is not the last. */
  readonly endOf: (piece: Members) => unknown;
  /** Of the last piece: at which stop string it ended; absent: the dialect does not say. */
  readonly stopOf?: (piece: Members) => unknown;
  readonly usageOf: (piece: Members) => Usage;
}

export class PieceAnswer implements UpstreamAnswer {
  readonly #dialect: PieceDialect;
  readonly #parts: AnswerParts;
  readonly #failure: AnswerOptions['failure'];

  constructor(dialect: PieceDialect, options: AnswerOptions) {
    this.#dialect = dialect;
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
    const parts = this.#parts;
    if (parts.isOver) return;
    const piece = membersOf(parseUpstream(text));
    if (isAnswerError(piece)) throw this.#failure(statusOfError(piece), text);
    const { say, endOf, stopOf, usageOf } = this.#dialect;
    say(piece, parts, text);
    const end = endOf(piece);
    if (end !== undefined) {
      parts.start(piece.model);
      parts.choice(0).ended(end, stopOf?.(piece));
    }
    if (end !== undefined || parts.isStopped) parts.finish(usageOf(piece));
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
