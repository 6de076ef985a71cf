// What the answers of all dialects have in common: one start, choices apart by their number, one end for each, one finish;
// when an answer is whole, and when it was cut.
// It must never take a cut answer for whole, never give out anything behind its end, and never grow without a bound.
import type { Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { ChoiceParts } from './choice-parts.ts';
import type { AnswerOptions } from './upstream-answer.ts';

/** UTF-16 units of one answer, calls included: far above any model's window. */
const MAX_LENGTH = 32 * 1024 * 1024;

export class AnswerParts {
  isOver = false;
  readonly #options: AnswerOptions;
  readonly #canStop: boolean;
  /** By number. */
  readonly #choices: ChoiceParts[] = [];
  readonly #grow = (length: number): void => {
    this.#length += length;
    if (this.#length <= MAX_LENGTH) return;
    throw new GatewayError('backend_failed', 'The back end sent more than any answer can have.');
  };
  #length = 0;
  #isStarted = false;

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#canStop = options.request.stop.length > 0 || options.traits.toolMarkup !== undefined;
  }

  /** At the first choice; later calls do nothing. `model`: as the server names who speaks. */
  start(model: unknown): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const speaker = typeof model === 'string' && model !== '' ? model : this.#options.speaker;
    this.#options.sink({ type: 'start', speaker });
  }

  /** Throws `backend_failed` for a number that was not asked for. No number is 0. */
  choice(number: unknown): ChoiceParts {
    const index = typeof number === 'number' ? number : 0;
    const known = this.#choices[index];
    if (known) return known;
    if (!Number.isInteger(index) || index < 0 || index >= this.#options.request.choices) {
      throw new GatewayError('backend_failed', 'The back end sent an answer that nobody asked for.');
    }
    while (this.#choices.length <= index) {
      this.#choices.push(new ChoiceParts(this.#choices.length, this.#options, this.#grow));
    }
    return this.#choices[index]!;
  }

  get isWhole(): boolean {
    return this.isOver || this.#areAll((choice) => choice.reason !== undefined);
  }

  /** Each choice met a stop string, or has the only call that it may have: the server need not go on. */
  get isStopped(): boolean {
    return this.#canStop && this.#areAll((choice) => choice.isStopped);
  }

  /** The body has ended: whole if every choice told its end. Throws `backend_failed` if not. */
  end(usage: Usage): void {
    if (this.isOver) return;
    if (this.isWhole) this.finish(usage);
    else if (this.#choices.length === 0) throw emptyAnswer();
    else throw new GatewayError('backend_failed', 'The back end ended its answer in the middle.');
  }

  /** The server says that its answer is whole. Throws `backend_failed` if there is none. */
  done(usage: Usage): void {
    if (this.isOver) return;
    if (!this.#choices.some((choice) => choice.reason !== undefined || choice.hasContent))
      throw emptyAnswer();
    this.finish(usage);
  }

  /** Ends all choices, each with what it still holds. */
  finish(usage: Usage): void {
    this.isOver = true;
    for (const choice of this.#choices) choice.close();
    this.#options.sink({ type: 'finish', usage });
  }

  #areAll(condition: (choice: ChoiceParts) => boolean): boolean {
    return this.#choices.length >= this.#options.request.choices && this.#choices.every(condition);
  }
}

function emptyAnswer(): GatewayError {
  return new GatewayError('backend_failed', 'The back end sent an answer with nothing in it.');
}

/** A count of tokens; undefined where it is none. */
export function tokenCount(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}
