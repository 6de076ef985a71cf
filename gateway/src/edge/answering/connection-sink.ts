// A connection as who takes a stream's text. A reader that stops is waited for within a limit.
import type { ServerResponse } from 'node:http';
import type { StreamCodec } from '../../wire/dialect.ts';
import { ChunkedBody } from '../http/chunked-body.ts';
import { clientTakes } from '../http/client-takes.ts';
import type { TextSink } from './stream-writer.ts';

export interface ConnectionSinkOptions {
  readonly response: ServerResponse;
  /** Sends status and headers. Called once, when the first word is there or silence has to be filled. */
  readonly sendHead: () => void;
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
}

/** Its `write` rejects with `cancelled` where the client left, and with `slow_reader`. */
export class ConnectionSink implements TextSink {
  readonly #response: ServerResponse;
  readonly #body: ChunkedBody;
  readonly #slowReaderLimitMs: number;
  #isFlowing = true;

  constructor({ response, sendHead, slowReaderLimitMs }: ConnectionSinkOptions) {
    this.#response = response;
    this.#body = new ChunkedBody(response, sendHead);
    this.#slowReaderLimitMs = slowReaderLimitMs;
  }

  get hasBegun(): boolean {
    return this.#response.headersSent && !this.#response.destroyed;
  }

  write(text: string): Promise<void> | undefined {
    this.#isFlowing = this.#body.write(text);
    return this.#isFlowing ? undefined : this.#whenItFlows();
  }

  fillSilence(codec: StreamCodec): void {
    if (this.#isFlowing && !this.#response.destroyed) this.#isFlowing = this.#body.write(codec.keepAlive());
  }

  end(text: string): void {
    this.#body.end(text);
  }

  async #whenItFlows(): Promise<void> {
    await clientTakes(this.#response, 'drain', this.#slowReaderLimitMs);
    this.#isFlowing = true;
  }
}
