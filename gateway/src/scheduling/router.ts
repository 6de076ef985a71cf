// Where a call goes, of the back ends that could run it: each one's score between 0 and 1 by several measures, weighed and
// summed; the best one, and of equals any. A conversation goes back to where its beginning was computed, but not at any
// price: who has more than its part to do has no such bonus (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with
// Bounded Loads", 2016).
// Pure: a function of a snapshot, and of chance where it is handed in.

/** A back end as it stands, seen from one call. */
export interface Candidate {
  /** Those of a lower tier are taken while one of them has a free place. */
  readonly tier: number;
  /** Calls that run there. */
  readonly running: number;
  /** Calls that may run there; no more are given to it. */
  readonly limit: number;
  /** What those that run there still have before them, prompts and expected answers, in tokens. */
  readonly outstandingTokens: number;
  /** What the call would add to that: what of its prompt is not there yet, and its expected answer. */
  readonly callTokens: number;
  /** What it gets done where it is busy, as measured; undefined: not known yet. */
  readonly tokensPerSecond: number | undefined;
  /** Calls that it says it has waiting within, whoever sent them; undefined: it does not say. */
  readonly waiting?: number | undefined;
  /** 0 to 1; undefined: it does not say. */
  readonly kvCacheUsage: number | undefined;
  /** 0 to 1: the part of the call's prompt that it has computed before. */
  readonly prefixShare: number;
  /** The call's session ran here last. */
  readonly isSessionHome: boolean;
  /** What a token costs there, in any one currency; undefined: nothing. */
  readonly price: number | undefined;
}

/** What each measure counts for, 0 or more; only their relation matters. */
export interface RoutingWeights {
  readonly prefix: number;
  readonly load: number;
  readonly kvCache: number;
  readonly session: number;
  readonly price: number;
}

/**
 * The index of the one that the call goes to; undefined: none has a free place. `random`: 0 to below 1, for ties. All
 * candidates that serve the call belong into the list, also full ones: what they have to do counts in the mean.
 */
export function pick(
  candidates: readonly Candidate[],
  weights: RoutingWeights,
  random: () => number,
): number | undefined {
  throw new Error(`${candidates.length} ${weights.load} ${random()}`);
}
