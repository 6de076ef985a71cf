// What another server is told of where a call comes from.
// It must never tell anyone but another Sluice of priorities, deadlines and sessions: they mean nothing elsewhere.
import { type CallOrigin, HOPS_HEADER } from '../../core/backend.ts';

/** Names in lower case. */
export function originHeaders(
  origin: CallOrigin | undefined,
  isSluice: boolean,
): Readonly<Record<string, string>> {
  if (!origin) return {};
  const { requestId, hops, priority, deadlineMs, session } = origin;
  return {
    'x-request-id': requestId,
    // To everyone: a server that we take for another kind may be this one.
    [HOPS_HEADER]: hops.join(','),
    ...(isSluice && { 'x-sluice-priority': priority }),
    ...(isSluice && session !== undefined && { 'x-sluice-session': session }),
    ...(isSluice &&
      deadlineMs !== undefined && { 'x-sluice-deadline-ms': String(Math.max(1, Math.floor(deadlineMs))) }),
  };
}
