// What the operator may see of the running server, under a key of its own: how its back ends are.
// Never a back end's key, and nothing of any request.
import { timingSafeEqual } from 'node:crypto';
import type { Backend, BackendLoad } from '../../core/backend.ts';
import { GatewayError } from '../../core/errors.ts';
import { hashKey, secretOf } from '../access/access.ts';
import type { Exchange } from '../http/exchange.ts';

export interface AdminOptions {
  /** SHA-256 of the operator's key. */
  readonly keyDigest: Buffer;
  /** Every back end, in the order of the configuration. */
  readonly backends: () => readonly BackendStatus[];
}

/** A back end and what only the configuration and the scheduler know of it. */
export interface BackendStatus {
  readonly backend: Backend;
  readonly kind: string;
  /** Without credentials; absent: it is no other server. */
  readonly url: string | undefined;
  /** Calls that run on it now. */
  readonly running: number;
}

/** Throws `unauthenticated`, on loopback too. */
export function authenticateAdmin({ request }: Exchange, { keyDigest }: AdminOptions): void {
  const secret = secretOf(request);
  if (secret !== undefined && timingSafeEqual(hashKey(secret), keyDigest)) return;
  throw new GatewayError(
    'unauthenticated',
    'The admin key is needed here: send it as "Authorization: Bearer KEY".',
  );
}

/** `GET /admin/backends`. */
export function sendBackends(exchange: Exchange, { backends }: AdminOptions): void {
  const data = backends().map(backendCard);
  exchange.sendJson(200, { object: 'list', data }, { 'cache-control': 'no-store' });
}

function backendCard({ backend, kind, url, running }: BackendStatus): object {
  const load = backend.load();
  const { state, reason, retryAfterMs, slots } = load;
  return {
    id: backend.id,
    kind,
    url: url ?? null,
    state,
    reason: reason ?? null,
    retry_after_ms: retryAfterMs === undefined ? null : Math.ceil(retryAfterMs),
    slots,
    running,
    reported: reportedLoad(load),
    models: backend.models?.() ?? null,
  };
}

/** What it says itself, of all its clients; null where it says nothing. */
function reportedLoad({ running, waiting, kvCacheUsage }: BackendLoad): object | null {
  if (running === undefined && waiting === undefined && kvCacheUsage === undefined) return null;
  return { running: running ?? null, waiting: waiting ?? null, kv_cache_usage: kvCacheUsage ?? null };
}
