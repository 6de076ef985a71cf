// The first half of every hub: where it is, how long it may take to answer, and what its refusal means.
// It knows no hub's addresses or headers: those are in the file of each.
import type { Environment } from '../home.ts';
import { ModelStoreError } from '../model-store-error.ts';
import type { Timings } from '../source-context.ts';
import { createWatchdog, type Watchdog } from './watchdog.ts';

/** What a hub must know to be asked: all that a check of what can be reached has. */
export interface HubQuestion {
  readonly env: Environment;
  readonly signal: AbortSignal;
  readonly timings: Timings;
}

/** The hub's address, from the variable `name`. Throws ModelStoreError `unreachable`. */
export function endpointOf(name: string, address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    throw new ModelStoreError('unreachable', `${name} is not an http or https address.`);
  }
  return url;
}

/** What paths are put behind: without a slash at its end. */
export function baseOf({ origin, pathname }: URL): string {
  return `${origin}${pathname.replace(/\/+$/, '')}`;
}

/** Ends the question where the hub is silent for too long. */
export function watchHub({ host }: URL, { signal, timings: { reachMs } }: HubQuestion): Watchdog {
  return createWatchdog(
    signal,
    reachMs,
    () => new ModelStoreError('unreachable', `${host} did not answer within ${reachMs / 1000} s.`),
  );
}

export interface Refusal {
  readonly status: number;
  readonly repo: string;
  /** The variable that a token stands in. */
  readonly tokenName: string;
  readonly hasToken: boolean;
  /** What there is not, where it says so: "FILE in REPOSITORY". */
  readonly wanted: string;
}

export function refusalOf(
  { host }: URL,
  { status, repo, tokenName, hasToken, wanted }: Refusal,
): ModelStoreError {
  let text = `${host} answered ${status}.`;
  if (status === 401 || status === 403) {
    const advice = hasToken
      ? `the token in ${tokenName} may not see it`
      : `set ${tokenName} if it needs a token`;
    text = `${host} refuses ${repo} (${status}): ${advice}.`;
  } else if (status === 404) text = `${host} has no ${wanted} (404).`;
  return new ModelStoreError('unreachable', text);
}
