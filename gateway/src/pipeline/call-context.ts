// What a back end is told of a call beside its request: whose it is, when its first word is due, and what ends it.
import type { CallContext } from '../core/backend.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Ticket } from '../core/ticket.ts';
import type { Call } from './call.ts';

/** The clock of a call's deadline. */
export interface Due {
  readonly clock: Clock;
  /** On that clock; absent: the call may take as long as it likes. */
  readonly at: number | undefined;
  /** Whether what was due has come. */
  readonly hasCome: () => boolean;
  /** What is said where it has not. */
  readonly message: string;
}

/** A signal that also aborts, with `deadline_exceeded`, when what is due has not come in time; `stop` ends the waiting. */
export function dueSignal(
  { clock, at, hasCome, message }: Due,
  signal: AbortSignal,
): { readonly signal: AbortSignal; readonly stop: () => void } {
  if (at === undefined) return { signal, stop: () => {} };
  const late = new AbortController();
  const stop = clock.after(Math.max(0, at - clock.now()), () => {
    if (!hasCome()) late.abort(new GatewayError('deadline_exceeded', message));
  });
  return { signal: AbortSignal.any([signal, late.signal]), stop };
}

/** `ticket`: that of the attempt. */
export function contextOf(
  { record, clock, callId, hops }: Pick<Call, 'record' | 'clock' | 'callId' | 'hops'>,
  { deadlineAt, session }: Ticket,
  signal: AbortSignal,
): CallContext {
  const deadlineMs = deadlineAt === undefined ? undefined : Math.max(0, deadlineAt - clock.now());
  const origin = { requestId: record.id, priority: record.priority, deadlineMs, hops, session };
  return { callId, tenant: record.tenant, signal, origin };
}
