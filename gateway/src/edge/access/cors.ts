// What browsers of other origins may do: nothing, until origins are configured.
// The headers that a page asks for are granted as asked: any list of ours would miss one that some client adds.

import type { Exchange } from '../http/exchange.ts';
import { type AccessRules, isAllowedOrigin } from './access.ts';

const EXPOSED = [
  'retry-after',
  'retry-after-ms',
  'server-timing',
  'x-ratelimit-limit-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-requests',
  'x-ratelimit-reset-tokens',
  'x-request-id',
  'x-should-retry',
  'x-siliconcloud-trace-id',
  'x-sluice-backend',
  'x-sluice-degraded',
  'x-sluice-model',
  'x-sluice-replayed',
  'x-sluice-stream',
  'x-sluice-warning',
].join(', ');
const PREFLIGHT_SECONDS = '600';

/** Adds the CORS headers of an allowed origin; true if it was a preflight and has been answered. */
export function handleCors(exchange: Exchange, rules: AccessRules): boolean {
  if (rules.corsOrigins.length === 0) return false;
  exchange.setHeader('vary', 'Origin');
  const origin = exchange.header('origin');
  if (origin === undefined || !isAllowedOrigin(origin, rules)) return false;
  exchange.setHeader('access-control-allow-origin', origin);
  exchange.setHeader('access-control-expose-headers', EXPOSED);
  const asked = exchange.header('access-control-request-method');
  if (exchange.request.method !== 'OPTIONS' || asked === undefined) return false;
  exchange.begin(204, {
    vary: 'Origin, Access-Control-Request-Headers',
    'access-control-allow-methods': 'GET, HEAD, POST, DELETE, OPTIONS',
    'access-control-allow-headers': exchange.header('access-control-request-headers') ?? '*',
    'access-control-max-age': PREFLIGHT_SECONDS,
  });
  exchange.response.end();
  return true;
}
