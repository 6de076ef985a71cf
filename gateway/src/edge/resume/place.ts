// Where a reader goes on who comes again. Pure.
import { GatewayError } from '../../core/errors.ts';
import type { Exchange } from '../http/exchange.ts';
import { parseEventId } from './event-numbers.ts';
import type { KeptAnswer } from './kept-answer.ts';

const HEADER = 'Last-Event-ID';

/**
 * The number of the event after the one that the client had last, or of the first where it does not say. Throws
 * `invalid_request` for what is no event of this answer, and `stream_gone` where what it missed is no longer kept.
 */
export function placeOf(kept: KeptAnswer, exchange: Exchange): number {
  const last = exchange.header('last-event-id') ?? exchange.query.get('last_event_id') ?? undefined;
  return keptFrom(kept, last === undefined ? 1 : numberIn(last, kept) + 1);
}

/** The same for who says the number alone, as `param`; 0: it had none. */
export function placeAfter(kept: KeptAnswer, number: number, param: string): number {
  if (number === 0 || (number < kept.buffer.next && (kept.guise.isNumbered || !kept.guise.isStream))) {
    return keptFrom(kept, number + 1);
  }
  throw new GatewayError(
    'invalid_request',
    `${param} is the number of no event that was sent of this stream.`,
    {
      param,
    },
  );
}

function keptFrom(kept: KeptAnswer, from: number): number {
  if (from >= kept.buffer.first) return from;
  throw new GatewayError(
    'stream_gone',
    'What was missed of this stream is no longer kept: more came since than "replay_buffer_bytes" holds.',
  );
}

function numberIn(last: string, { id, guise, buffer }: KeptAnswer): number {
  const event = parseEventId(last);
  if (!event) throw wrong(`is no id of an event, which look like "${guise.isNumbered ? id : 'STREAM'}:1"`);
  if (event.stream !== id || !guise.isNumbered) throw wrong('is of another stream');
  if (event.number >= buffer.next) throw wrong('is of an event that was not sent yet');
  return event.number;
}

function wrong(rest: string): GatewayError {
  return new GatewayError('invalid_request', `${HEADER} ${rest}.`, { param: HEADER });
}
