// Waits for a client, and never for ever: it takes what was written, it leaves, or its time is up.
import type { ServerResponse } from 'node:http';
import { setImmediate as turnsEnd } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';

/**
 * Resolves when the socket takes more (`drain`) or has taken all (`finish`). Rejects with `cancelled` if the client leaves
 * before, and with `slow_reader` after the limit; its connection is cut then, since it would not read an error either.
 */
export function clientTakes(
  response: ServerResponse,
  event: 'drain' | 'finish',
  limitMs: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: GatewayError) => {
      clearTimeout(timer);
      response.off(event, onTaken).off('close', onClose);
      if (error) reject(error);
      else resolve();
    };
    const onTaken = () => settle();
    const onClose = () => settle(new GatewayError('cancelled', 'The client left before the last byte.'));
    const timer = setTimeout(() => {
      settle(new GatewayError('slow_reader', `The client read nothing for ${limitMs / 1000} s.`));
      response.destroy();
    }, limitMs).unref();
    response.on(event, onTaken).on('close', onClose);
    if (response.destroyed) onClose();
  });
}

/**
 * Whether the system has all of an answer, so that nobody need wait for its client. Node says `finish` a turn later, also where it
 * could write everything at once, as it mostly can.
 */
export function isTaken(response: ServerResponse): boolean {
  const { writableFinished, writableEnded, writableLength, destroyed } = response;
  return writableFinished || (writableEnded && writableLength === 0 && !destroyed);
}

/** Resolves and rejects as `clientTakes` does for `finish`; undefined: all is taken already. */
export function clientTakesAll(response: ServerResponse, limitMs: number): Promise<void> | undefined {
  return isTaken(response) ? undefined : takesAll(response, limitMs);
}

/** What was made in this turn leaves at its end (`Exchange.send`): then mostly nobody need be waited for. */
async function takesAll(response: ServerResponse, limitMs: number): Promise<void> {
  await turnsEnd();
  if (!isTaken(response)) await clientTakes(response, 'finish', limitMs);
}
