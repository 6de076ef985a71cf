// A call's next turn: on which back ends it may run as it stands, and the wait for one of them.
// It must never ask for a back end that could do nothing for the call, and never hide a loss behind the wait that follows.
import type { Backend } from '../core/backend.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import type { Lease } from '../scheduling/scheduler.ts';
import type { Call, Standing } from './call.ts';
import { type Way, wayOn } from './going-on.ts';

/** The right to run a call, and what is to be done for it there. */
export interface Turn {
  readonly ticket: Ticket;
  readonly lease: Lease;
  readonly way: Way;
}

/** From who has not failed the call; if none of them takes it, from who failed it earlier. Rejects with a GatewayError. */
export async function nextTurn(
  call: Call,
  failed: Set<Backend>,
  standing: Standing | undefined,
): Promise<Turn> {
  const ticket = ticketFor(call, failed, standing);
  let lease: Lease;
  try {
    lease = await call.scheduler.acquire(ticket);
  } catch (thrown) {
    if (!standing) throw thrown;
    ticket.signal.throwIfAborted();
    const refusal = toGatewayError(thrown);
    const isWait = refusal.code === 'queue_timeout';
    if (isWait || standing.earlier.size === 0) throw notGoneOn(standing, refusal);
    for (const backend of standing.earlier) failed.delete(backend);
    return await nextTurn(call, failed, { ...standing, earlier: new Set() });
  }
  return turnOn(call, ticket, lease, standing);
}

/** What the call does with a lease. Gives the lease back, and throws, if it is of no use to it. */
export function turnOn(call: Call, ticket: Ticket, lease: Lease, standing: Standing | undefined): Turn {
  const way = wayOn(call.request, standing, lease.backend);
  if (way) return { ticket, lease, way };
  lease.release('ignored');
  throw new GatewayError('internal', 'A call came to a back end that can do nothing for it.');
}

/** The same error with another message, for other reasons. */
export function retold(error: GatewayError, message: string, cause: GatewayError): GatewayError {
  const { code, param, retryAfterMs, status, wire } = error;
  return new GatewayError(code, message, { param, retryAfterMs, status, wire, cause });
}

/** The next attempt's: not for those who failed, nor for those who could do nothing for the call as it stands. */
function ticketFor(call: Call, failed: ReadonlySet<Backend>, standing: Standing | undefined): Ticket {
  const { ticket, request, clock, resumeLimitMs } = call;
  if (!standing && !request.continueFrom) return ticket;
  const excluded = new Set(
    ticket.backends.filter((backend) => failed.has(backend) || !wayOn(request, standing, backend)),
  );
  if (!standing) {
    if (excluded.size < ticket.backends.length) return { ...ticket, excluded };
    const message = 'No back end of this model can go on with an answer that was begun.';
    throw new GatewayError('invalid_request', message, { param: 'messages' });
  }
  const { isGiven, isPreempted } = standing;
  // The promise was of a first word: one that was given is kept, one that was not is not renewed.
  if (isPreempted) {
    return { ...ticket, excluded, wasPreempted: true, deadlineAt: isGiven ? undefined : ticket.deadlineAt };
  }
  if (!isGiven) return { ...ticket, excluded, resumes: true };
  // Its client waits for the next word as it did for the first.
  const deadlineAt = resumeLimitMs === undefined ? undefined : clock.now() + resumeLimitMs;
  return { ...ticket, excluded, resumes: true, deadlineAt };
}

/** A wait that ends without a slot is, for a call that lost its back end, still that loss. */
function notGoneOn({ error, isGiven }: Standing, refusal: GatewayError): GatewayError {
  if (!isGiven) return error ?? refusal;
  const rest = `The answer could not go on: ${refusal.message}`;
  return error
    ? retold(error, `${error.message} ${rest}`, error)
    : retold(refusal, `A more urgent call took the slot. ${rest}`, refusal);
}
