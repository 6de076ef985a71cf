// An answer that is kept, as who takes a stream's text: it takes it as events, numbered where its readers come again by them.
import type { StreamCodec } from '../../wire/dialect.ts';
import type { TextSink } from '../answering/stream-writer.ts';
import { EventNumbers } from './event-numbers.ts';
import type { KeptAnswer } from './kept-answer.ts';

export class KeptSink implements TextSink {
  readonly #kept: KeptAnswer;
  /** Absent: nothing is numbered, and what is written at once is one event. */
  readonly #numbers: EventNumbers | undefined;

  /** `contentType`: of the codec whose text it takes. */
  constructor(kept: KeptAnswer, contentType: string) {
    this.#kept = kept;
    this.#numbers = kept.guise.isNumbered ? new EventNumbers(kept.id, contentType) : undefined;
  }

  get hasBegun(): boolean {
    return this.#kept.buffer.next > 1;
  }

  /** Readers are never waited for: each has its own place. */
  write(text: string): undefined {
    this.#take(text, true);
  }

  /** Who has seen an id is not to be sent an empty line: a known client takes it for an event without data, and breaks. */
  fillSilence(codec: StreamCodec): void {
    if (this.#kept.isRead) this.#take(this.#numbers ? codec.idleEvent() : codec.keepAlive(), false);
  }

  end(text: string): void {
    this.#take(text, false);
  }

  #take(text: string, isWord: boolean): void {
    this.#kept.add(this.#numbers ? this.#numbers.take(text) : [text], isWord);
  }
}
