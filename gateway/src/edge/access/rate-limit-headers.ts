// `x-ratelimit-*`: what a key has left, alone and of the model that it asks for, under the names and in the form that OpenAI's
// clients know. Known before the head of an answer leaves, so streams show it too.
import type { LimitState, Standing } from '../../scheduling/quota.ts';
import type { Envelope } from '../http/envelope.ts';

/** For whatever the answer will be; where nothing is limited there are none. */
export function setRateLimitHeaders(exchange: Envelope, { requests, tokens }: Standing): void {
  setHeaders(exchange, 'requests', requests);
  setHeaders(exchange, 'tokens', tokens);
}

function setHeaders(exchange: Envelope, kind: 'requests' | 'tokens', state: LimitState | undefined): void {
  if (!state) return;
  exchange.setHeader(`x-ratelimit-limit-${kind}`, `${state.limit}`);
  exchange.setHeader(`x-ratelimit-remaining-${kind}`, `${state.remaining}`);
  exchange.setHeader(`x-ratelimit-reset-${kind}`, `${Math.ceil(state.resetMs / 1000)}s`);
}
