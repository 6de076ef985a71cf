// Reads HTTP/1.1 requests off a socket's bytes, as far as a benchmark's upstream needs them: the method, the path and the
// body, by its length. It must never hold more than one request, and it answers nothing.
// Pure.

export interface PlainRequest {
  readonly method: string;
  readonly path: string;
  /** Its bytes, each as one character. */
  readonly body: string;
}

const MOST_HEAD_BYTES = 64 * 1024;
const MOST_BODY_BYTES = 4 * 1024 * 1024;

export class RequestReader {
  readonly #onRequest: (request: PlainRequest) => void;
  #held: Buffer = Buffer.alloc(0);

  constructor(onRequest: (request: PlainRequest) => void) {
    this.#onRequest = onRequest;
  }

  /** Throws on what it cannot read: too long, or a body whose length is not told in the head. */
  push(bytes: Buffer): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    for (;;) {
      const headEnd = this.#held.indexOf('\r\n\r\n');
      if (headEnd < 0) {
        if (this.#held.length > MOST_HEAD_BYTES) throw new Error('The head of a request is too long.');
        return;
      }
      const head = this.#held.toString('latin1', 0, headEnd);
      const bodyEnd = headEnd + 4 + bodyLength(head);
      if (this.#held.length < bodyEnd) return;
      const [method = '', path = ''] = head.split(' ', 2);
      const body = this.#held.toString('latin1', headEnd + 4, bodyEnd);
      this.#held = this.#held.subarray(bodyEnd);
      this.#onRequest({ method, path, body });
    }
  }
}

function bodyLength(head: string): number {
  if (/\r\ntransfer-encoding:/i.test(head)) throw new Error('A body without a length cannot be read.');
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  if (length > MOST_BODY_BYTES) throw new Error('The body of a request is too long.');
  return length;
}
