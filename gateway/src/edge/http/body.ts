// Reads a request's body: the only place that does. Bounded in bytes and in silence.
import { setImmediate as turnsEnd } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';
import type { BodyReader, Request } from './request.ts';

export interface BodyLimits {
  readonly maxBytes: number;
  /** The longest that the client may send nothing before its body is complete, in ms. */
  readonly stallMs: number;
}

/**
 * Resolves with the end of the event loop's turn: what came in one turn is read first and then computed, so that the processor
 * goes over each part of the code once and not back and forth, which costs a fifth of a short request.
 * Rejects with `body_too_large`, `request_timeout`, `invalid_request` for what is no HTTP, or `cancelled` when the client left in the
 * middle.
 */
export async function readBody(request: Request, limits: BodyLimits): Promise<Buffer> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new GatewayError(
      'invalid_request',
      'Compressed bodies are not read here: send it without Content-Encoding.',
    );
  }
  if (Number(request.headers['content-length'] ?? 0) > limits.maxBytes) throw tooLarge(limits);
  const body = new Body(limits);
  request.read(body);
  await turnsEnd();
  // It has come with its head, as most do.
  if (!body.isSettled) await body.comes();
  return body.bytes();
}

class Body implements BodyReader {
  isSettled = false;
  readonly #limits: BodyLimits;
  #pieces: Buffer[] = [];
  #length = 0;
  #failure: GatewayError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #settled: (() => void) | undefined;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  data(bytes: Buffer): void {
    if (this.isSettled) return;
    this.#timer?.refresh();
    this.#length += bytes.length;
    if (this.#length > this.#limits.maxBytes) this.failed(tooLarge(this.#limits));
    else this.#pieces.push(bytes);
  }

  end(): void {
    this.#settle();
  }

  failed(error: GatewayError): void {
    if (this.isSettled) return;
    this.#failure = error;
    this.#pieces = [];
    this.#settle();
  }

  /** Resolves when it is settled, which silence does too. */
  comes(): Promise<void> {
    const { stallMs } = this.#limits;
    this.#timer = setTimeout(() => {
      const message = `The body stopped for ${stallMs / 1000} s before it was complete.`;
      this.failed(new GatewayError('request_timeout', message));
    }, stallMs).unref();
    return new Promise((resolve) => {
      this.#settled = resolve;
    });
  }

  /** All of it. Throws what it failed by. */
  bytes(): Buffer {
    if (this.#failure) throw this.#failure;
    return this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#length);
  }

  #settle(): void {
    this.isSettled = true;
    clearTimeout(this.#timer);
    this.#settled?.();
  }
}

function tooLarge({ maxBytes }: BodyLimits): GatewayError {
  return new GatewayError(
    'body_too_large',
    `The body is larger than this server's limit of ${maxBytes} bytes.`,
  );
}
