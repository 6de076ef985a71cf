// Reads a request's body: the only place that does. Bounded in bytes and in silence.
import type { IncomingMessage } from 'node:http';
import { setImmediate as turnsEnd } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';

export interface BodyLimits {
  readonly maxBytes: number;
  /** The longest that the client may send nothing before its body is complete, in ms. */
  readonly stallMs: number;
}

/**
 * Resolves with the end of the event loop's turn: what came in one turn is read first and then computed, so that the processor
 * goes over each part of the code once and not back and forth, which costs a fifth of a short request.
 * Rejects with `body_too_large`, `request_timeout`, or `cancelled` when the client left in the middle.
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new GatewayError(
      'invalid_request',
      'Compressed bodies are not read here: send it without Content-Encoding.',
    );
  }
  if (Number(request.headers['content-length'] ?? 0) > limits.maxBytes) throw tooLarge(limits);
  // Node throws an 'error' that nobody listens to; the client's leaving is an ordinary event.
  request.on('error', () => {});
  await turnsEnd();
  if (request.destroyed || !request.complete) return await readPieces(request, limits);
  // It has come with its head, as most do.
  const bytes: Buffer = request.read() ?? Buffer.alloc(0);
  if (bytes.length > limits.maxBytes) throw tooLarge(limits);
  return bytes;
}

function readPieces(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (error?: GatewayError) => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      if (error) reject(error);
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes));
    };
    const onData = (chunk: Buffer) => {
      timer.refresh();
      bytes += chunk.length;
      if (bytes > limits.maxBytes) settle(tooLarge(limits));
      else chunks.push(chunk);
    };
    const onEnd = () => settle();
    const onGone = () =>
      settle(new GatewayError('cancelled', 'The client left before its request was complete.'));
    const timer = setTimeout(() => {
      const seconds = limits.stallMs / 1000;
      settle(
        new GatewayError('request_timeout', `The body stopped for ${seconds} s before it was complete.`),
      );
    }, limits.stallMs).unref();
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    if (request.destroyed) onGone();
  });
}

function tooLarge({ maxBytes }: BodyLimits): GatewayError {
  return new GatewayError(
    'body_too_large',
    `The body is larger than this server's limit of ${maxBytes} bytes.`,
  );
}
