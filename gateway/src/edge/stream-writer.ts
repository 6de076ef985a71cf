// Writes one answer to one socket: the only asynchronous hop between a model's word and its client.
// Silence is filled, a reader that stops is waited for within a limit, and the compute is held up by neither.
import type { ServerResponse } from 'node:http';
import { toGatewayError } from '../core/errors.ts';
import type { StreamLog } from '../pipeline/stream-log.ts';
import type { Report, StreamCodec } from '../wire/dialect.ts';
import { ChunkedBody } from './chunked-body.ts';
import { clientTakes } from './client-takes.ts';

export interface StreamWriterOptions {
  readonly response: ServerResponse;
  readonly codec: StreamCodec;
  /** Sends status and headers. Called once, when the first word is there or silence has to be filled. */
  readonly sendHead: () => void;
  readonly report: () => Report | undefined;
  /** Silence before a keep-alive, in ms. */
  readonly keepAliveMs: number;
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
}

/**
 * Resolves when the last byte was handed to the socket. Rejects with what went wrong: before the head was sent nothing
 * was written, and the caller answers; after it the client has been told in the stream, as far as it still reads.
 */
export async function writeStream(log: StreamLog, options: StreamWriterOptions): Promise<void> {
  const { response, codec, sendHead, report } = options;
  const body = new ChunkedBody(response, sendHead);
  let isFlowing = true;
  const send = (text: string) => {
    isFlowing = body.write(text);
    silence.refresh();
  };
  const silence = setInterval(() => {
    if (isFlowing && !response.destroyed) send(codec.keepAlive());
  }, options.keepAliveMs).unref();
  // What opens the answer waits for its first word: what fails before that still gets its true status.
  let opening = '';
  try {
    for await (const event of log.read()) {
      const text = codec.event(event);
      if (event.type === 'start') {
        opening += text;
        continue;
      }
      if (text === '') continue;
      send(opening + text);
      opening = '';
      if (!isFlowing) {
        await clientTakes(response, 'drain', options.slowReaderLimitMs);
        isFlowing = true;
      }
    }
    body.end(opening + codec.end(report()));
  } catch (thrown) {
    const error = toGatewayError(thrown);
    if (response.headersSent && !response.destroyed) body.end(codec.error(error));
    throw error;
  } finally {
    clearInterval(silence);
  }
}
