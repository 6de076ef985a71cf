// Why a call is not to wait at all: none of the back ends that could run it will be there for it.
import type { Backend, BackendLoad } from '../core/backend.ts';
import { GatewayError } from '../core/errors.ts';

/** The bounds of what a client is told of when to come again, in ms. */
export const LEAST_RETRY_MS = 1_000;
export const MOST_RETRY_MS = 60_000;

/** None of them is ready, or on its way to be. Undefined: one is. */
export function refusalOf(backends: readonly Backend[]): GatewayError | undefined {
  const busy: BackendLoad[] = [];
  const away: BackendLoad[] = [];
  for (const backend of backends) {
    const load = backend.load();
    if (load.state === 'loading' || load.state === 'ready') return undefined;
    (load.state === 'busy' ? busy : away).push(load);
  }
  if (busy.length > 0) {
    const message = reasonOf(busy) ?? 'Every back end of this model has more to do than it can.';
    return new GatewayError('backend_busy', message, { retryAfterMs: soonest(busy) ?? LEAST_RETRY_MS });
  }
  const message = reasonOf(away) ?? 'No back end serves this model any more.';
  return new GatewayError('not_ready', message, { retryAfterMs: soonest(away) ?? MOST_RETRY_MS });
}

function reasonOf(loads: readonly BackendLoad[]): string | undefined {
  return loads.find(({ reason }) => reason !== undefined)?.reason;
}

/** When the first of them is worth asking again, in ms; undefined: none says. */
function soonest(loads: readonly BackendLoad[]): number | undefined {
  let least: number | undefined;
  for (const { retryAfterMs } of loads) {
    if (retryAfterMs !== undefined && (least === undefined || retryAfterMs < least)) least = retryAfterMs;
  }
  return least;
}
