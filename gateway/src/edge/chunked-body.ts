// A streamed body, framed by us. Node's own chunked encoding makes three writes of each piece (its length, the piece, a
// line end) and joins them again by writev, which was the largest part of a stream's CPU time. Here a piece is one write.
// The head is sent with the first piece, never before: until then the answer may still become an error.
import type { ServerResponse } from 'node:http';

const LAST_CHUNK = '0\r\n\r\n';

export class ChunkedBody {
  readonly #response: ServerResponse;
  readonly #sendHead: () => void;
  #isChunked = false;

  constructor(response: ServerResponse, sendHead: () => void) {
    this.#response = response;
    this.#sendHead = sendHead;
  }

  /** False when the socket wants no more for now; `drain` follows on the response. */
  write(text: string): boolean {
    this.#open();
    return this.#response.write(this.#framed(text));
  }

  end(text: string): void {
    this.#open();
    this.#response.end(this.#isChunked ? this.#framed(text) + LAST_CHUNK : text);
  }

  #open(): void {
    const response = this.#response;
    if (response.headersSent) return;
    this.#sendHead();
    // Node decides by the head: HTTP/1.0 has no chunks, and its bodies end with the connection.
    this.#isChunked = response.chunkedEncoding;
    response.chunkedEncoding = false;
  }

  /** One chunk of HTTP/1.1 (RFC 9112, 7.1); none for an empty text, which would be the last one. */
  #framed(text: string): string {
    if (!this.#isChunked || text === '') return text;
    return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
  }
}
