// A streamed body, framed by us. Node's own chunked encoding makes three writes of each piece (its length, the piece, a
// line end), holds them until the tick's end and joins them by writev, which was the largest part of a stream's CPU time.
// Here a piece is one write, to the socket itself once the head has left.
// The head is sent with the first piece, never before: until then the answer may still become an error.
import type { ServerResponse } from 'node:http';

const LAST_CHUNK = '0\r\n\r\n';
const LINE_END = Buffer.from('\r\n');

export class ChunkedBody {
  readonly #response: ServerResponse;
  readonly #sendHead: () => void;
  #isChunked = false;

  constructor(response: ServerResponse, sendHead: () => void) {
    this.#response = response;
    this.#sendHead = sendHead;
  }

  /** Sends the head before there is anything to write. */
  begin(): void {
    this.#open();
    this.#response.flushHeaders();
  }

  /** False when the socket wants no more for now; `drain` follows on the response. */
  write(body: string | Buffer): boolean {
    const response = this.#response;
    const hasHeadLeft = response.headersSent;
    this.#open();
    const piece = this.#framed(body);
    // The response has no socket while an earlier answer has it, nor when it has ended.
    const { socket } = response;
    if (!hasHeadLeft || !this.#isChunked || !socket?.writable) return response.write(piece);
    // The response tells of a drain only where it was itself refused.
    return socket.write(piece) || response.write('');
  }

  end(text: string): void {
    this.#open();
    this.#response.end(this.#isChunked ? `${this.#framed(text)}${LAST_CHUNK}` : text);
  }

  #open(): void {
    const response = this.#response;
    if (response.headersSent) return;
    this.#sendHead();
    // Node decides by the head: HTTP/1.0 has no chunks, and its bodies end with the connection.
    this.#isChunked = response.chunkedEncoding;
    response.chunkedEncoding = false;
  }

  /** One chunk of HTTP/1.1 (RFC 9112, 7.1); none for an empty body, which would be the last one. */
  #framed(body: string | Buffer): string | Buffer {
    if (!this.#isChunked || body.length === 0) return body;
    if (typeof body === 'string') return `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`;
    // To copy some kilobytes costs less than a second write.
    return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, LINE_END]);
  }
}
