// Writes one answer to one socket: the only asynchronous hop between a model's word and its client.
// Silence is filled, a reader that stops is waited for within a limit, and the compute is held up by neither.
import type { ServerResponse } from 'node:http';
import type { TokenEvent } from '../core/chat.ts';
import { toGatewayError } from '../core/errors.ts';
import type { StreamLog } from '../pipeline/stream-log.ts';
import type { Report, StreamCodec } from '../wire/dialect.ts';
import { ChunkedBody } from './chunked-body.ts';
import { clientTakes } from './client-takes.ts';

/** UTF-16 units: no single write is made longer than this by joining events. */
const MOST_AT_ONCE = 16 * 1024;

/** Where an answer's events come from: its log, or what stands before it. */
export type EventSource = Pick<StreamLog, 'read' | 'takeReady'>;

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
export async function writeStream(source: EventSource, options: StreamWriterOptions): Promise<void> {
  const { response, codec, sendHead, report } = options;
  const body = new ChunkedBody(response, sendHead);
  let isFlowing = true;
  const send = (text: string) => {
    isFlowing = body.write(text);
    silence.refresh();
  };
  const nextFor = (unsent: string) => (unsent.length < MOST_AT_ONCE ? source.takeReady() : undefined);
  const silence = setInterval(() => {
    if (isFlowing && !response.destroyed) send(codec.keepAlive());
  }, options.keepAliveMs).unref();
  let text = '';
  try {
    for await (const first of source.read()) {
      // What opens the answer waits for its first word: what fails before that still gets its true status.
      let hasWord = false;
      // Nothing waits for more, but what has come together leaves together: a write costs more than all else here.
      for (let event: TokenEvent | undefined = first; event; event = nextFor(text)) {
        const piece = codec.event(event);
        text += piece;
        hasWord ||= piece !== '' && event.type !== 'start';
      }
      if (!hasWord) continue;
      send(text);
      text = '';
      if (!isFlowing) {
        await clientTakes(response, 'drain', options.slowReaderLimitMs);
        isFlowing = true;
      }
    }
    body.end(text + codec.end(report()));
  } catch (thrown) {
    const error = toGatewayError(thrown);
    if (response.headersSent && !response.destroyed) body.end(codec.error(error));
    throw error;
  } finally {
    clearInterval(silence);
  }
}
