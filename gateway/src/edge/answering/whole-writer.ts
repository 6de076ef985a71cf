// Writes one answer as one JSON. Blank lines before it only if asked for: once one is sent, an error can no longer have its
// status.
import { toGatewayError } from '../../core/errors.ts';
import type { Exchange } from '../http/exchange.ts';
import type { ResponseHeaders } from '../http/response.ts';
import { streamHeaders } from './answer-headers.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';

export interface WholeWriterOptions {
  /** The line of JSON. */
  readonly whole: Promise<string>;
  /** Of the head, as things stand. */
  readonly headers: () => ResponseHeaders;
  /** Silence before a blank line, in ms, where they are asked for. */
  readonly keepAliveMs: number;
}

/** Resolves when the answer was handed to the socket. Rejects as `whole` does: told already if the head has left. */
export async function writeWhole(exchange: Exchange, options: WholeWriterOptions): Promise<void> {
  const { response } = exchange;
  const { whole, headers } = options;
  const padding = exchange.header('x-sluice-keep-alive') === '1' && padSilence(exchange, options);
  try {
    const text = await whole;
    if (response.hasBegun) response.end(text);
    else exchange.send(200, JSON_TYPE, text, headers());
  } catch (thrown) {
    if (response.hasBegun) response.end(JSON.stringify(exchange.errorBody(toGatewayError(thrown))));
    throw thrown;
  } finally {
    if (padding) clearInterval(padding);
  }
}

function padSilence(exchange: Exchange, { headers, keepAliveMs }: WholeWriterOptions): NodeJS.Timeout {
  const { response } = exchange;
  return setInterval(() => {
    if (response.isLost || response.isFull) return;
    if (!response.hasBegun) exchange.begin(200, { ...headers(), ...streamHeaders(JSON_TYPE) });
    response.write('\n');
  }, keepAliveMs).unref();
}
