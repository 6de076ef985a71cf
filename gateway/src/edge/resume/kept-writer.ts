// Writes an answer that is kept to one of its readers: what there is, then what comes. Another reader, who is slower or leaves,
// is not seen here.
import { GatewayError } from '../../core/errors.ts';
import { writeWhole } from '../answering/whole-writer.ts';
import type { Exchange } from '../http/exchange.ts';
import type { ResponseHeaders } from '../http/response.ts';
import type { Follower, KeptAnswer } from './kept-answer.ts';

export interface KeptStreamOptions {
  /** Besides those of the answer itself. */
  readonly headers: ResponseHeaders;
  /** How long the client may stop reading, in ms. */
  readonly slowReaderLimitMs: number;
  /** The number of the first event to write; it is kept. */
  readonly from: number;
  /** The head leaves at once, and not with the first event. */
  readonly isBegun: boolean;
}

/**
 * Resolves when the last byte was handed to the socket, or the client has left. Rejects with what the answer failed by, where
 * nothing was written; with `cancelled`, where the client left while it was waited for; and with `slow_reader`: the connection
 * is cut then.
 */
export async function writeKeptStream(
  kept: KeptAnswer,
  exchange: Exchange,
  options: KeptStreamOptions,
): Promise<void> {
  const { buffer, guise } = kept;
  const { response } = exchange;
  const begin = () => exchange.begin(200, { ...guise.headers(), ...options.headers });
  await following(kept, exchange, async (follower) => {
    if (options.isBegun) {
      begin();
      response.flushHead();
    }
    let next = options.from;
    while (!response.isLost) {
      const batch = next < buffer.first ? cutOff(exchange) : buffer.read(next);
      if (batch) {
        next = batch.next;
        if (!response.hasBegun) begin();
        if (!response.write(batch.bytes)) await response.flows(options.slowReaderLimitMs);
      } else if (kept.isRunning) await follower.news();
      else break;
    }
    if (kept.failure && !response.hasBegun) throw kept.failure;
    if (!response.hasBegun) begin();
    response.end();
  });
}

export interface KeptWholeOptions {
  /** Besides those of the answer itself. */
  readonly headers: ResponseHeaders;
  /** Silence before a blank line, in ms, where they are asked for. */
  readonly keepAliveMs: number;
}

/** The same of an answer that is one JSON. */
export async function writeKeptWhole(
  kept: KeptAnswer,
  exchange: Exchange,
  { headers, keepAliveMs }: KeptWholeOptions,
): Promise<void> {
  await following(kept, exchange, (follower) =>
    writeWhole(exchange, {
      whole: wholeOf(kept, exchange, follower),
      headers: () => ({ ...kept.guise.headers(), ...headers }),
      keepAliveMs,
    }),
  );
}

/** The client's leaving ends only its own reading. */
async function following(
  kept: KeptAnswer,
  { response }: Exchange,
  read: (follower: Follower) => Promise<void>,
): Promise<void> {
  const follower = kept.follow();
  const unwatch = response.watch(follower.leave);
  try {
    await read(follower);
  } finally {
    unwatch();
    follower.leave();
  }
}

async function wholeOf(kept: KeptAnswer, { response }: Exchange, follower: Follower): Promise<string> {
  while (kept.isRunning && !response.isLost) await follower.news();
  if (kept.failure) throw kept.failure;
  const batch = kept.buffer.read(kept.buffer.first);
  if (batch) return batch.bytes.toString();
  throw new GatewayError('cancelled', 'The client left.');
}

/** It would not read an error either; who comes again is told that it comes too late. */
function cutOff({ response }: Exchange): never {
  response.destroy();
  throw new GatewayError('slow_reader', 'The client read too slowly: what it missed is no longer kept.');
}
