// A connection as who takes a stream's text. A reader that stops is waited for within a limit.
import type { StreamCodec } from '../../wire/dialect.ts';
import type { Response } from '../http/response.ts';
import type { TextSink } from './stream-writer.ts';

export interface ConnectionSinkOptions {
  readonly response: Response;
  /** Begins the response. Called once, when the first word is there or silence has to be filled. */
  readonly sendHead: () => void;
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
}

/** Its `write` rejects with `cancelled` where the client left, and with `slow_reader`. */
export class ConnectionSink implements TextSink {
  readonly #options: ConnectionSinkOptions;
  readonly #response: Response;

  constructor(options: ConnectionSinkOptions) {
    this.#options = options;
    this.#response = options.response;
  }

  get hasBegun(): boolean {
    return this.#response.hasBegun && !this.#response.isLost;
  }

  write(text: string): Promise<void> | undefined {
    this.#begin();
    return this.#response.write(text) ? undefined : this.#response.flows(this.#options.slowReaderLimitMs);
  }

  fillSilence(codec: StreamCodec): void {
    if (this.#response.isFull || this.#response.isLost) return;
    this.#begin();
    this.#response.write(codec.keepAlive());
  }

  end(text: string): void {
    this.#begin();
    this.#response.end(text);
  }

  #begin(): void {
    if (!this.#response.hasBegun) this.#options.sendHead();
  }
}
