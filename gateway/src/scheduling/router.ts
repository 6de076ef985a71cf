// Where a call goes, of the back ends that could run it: each one's score between 0 and 1 by several measures, weighed and
// summed; the best one, and of equals any. A conversation goes back to where its beginning was computed, but not at any
// price: who has more than its part to do has no such bonus (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with
// Bounded Loads", 2016). The words are those of the Gateway API Inference Extension: filter, score, pick.
// Pure: a function of a snapshot, and of chance where it is handed in.

/** A back end as it stands, seen from one call. */
export interface Candidate {
  /** Those of a lower tier are taken while one of them has a free place. */
  readonly tier: number;
  /** Calls that run there. */
  readonly running: number;
  /** Calls that may run there; no more are given to it. */
  readonly limit: number;
  /** The call's first token would most likely come too late there. */
  readonly isLate: boolean;
  /** What those that run there still have before them, prompts and expected answers, in tokens. */
  readonly outstandingTokens: number;
  /** What the call would add to that: what of its prompt is not there yet, and its expected answer. */
  readonly callTokens: number;
  /** What it gets done where it is busy, as measured; undefined: not known yet. */
  readonly tokensPerSecond: number | undefined;
  /** Calls of others that it has, as it says itself (`BackendLoad.others`); undefined: it does not say. */
  readonly others?: number | undefined;
  /** 0 to 1; undefined: it does not say. */
  readonly kvCacheUsage: number | undefined;
  /** 0 to 1: the part of the call's prompt that it has computed before. */
  readonly prefixShare: number;
  /** The call's session ran here last. */
  readonly isSessionHome: boolean;
  /** What the call would cost there, in any one currency; undefined: nothing. */
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
 * More than two thirds of a prompt outweigh any load: how far that may go is said by the bound and not by a weight. A session
 * weighs less, for the prefix knows better what is there; it counts where that is less than a block, or was forgotten. A
 * full KV cache makes a server take back what it runs, but is mostly full of load, which counts already. Of two equals of
 * which one costs nothing, that one gets about nine calls of ten.
 */
export const USUAL_WEIGHTS: RoutingWeights = { prefix: 3, load: 2, kvCache: 1, session: 1, price: 1 };

/** Of the mean load: the paper's c. Less breaks up conversations, more leaves a back end idle beside one with a queue. */
const MOST_OF_MEAN = 1.25;
/** With fewer calls than this nobody is overloaded, whatever the others have: means of so few say nothing. */
const FEW_CALLS = 4;
/** Of a back end that does not say. */
const UNKNOWN_KV_USAGE = 0.5;

/** What all candidates of a tier are measured by. */
interface Scale {
  /** What is taken as the speed of one that was not measured; undefined: none was. */
  readonly usualSpeed: number | undefined;
  /** With the call. */
  readonly meanLoad: number;
  readonly highestPrice: number;
}

/** In seconds of work; where no speed is known, in shares of the places. */
interface Load {
  readonly before: number;
  /** What the call would add. */
  readonly own: number;
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
  const tier = firstTierWithPlace(candidates);
  if (tier === undefined) return undefined;
  const scale = scaleOf(candidates.filter((one) => one.tier === tier && one.limit > 0));
  const able = (one: Candidate) => one.tier === tier && hasPlace(one);
  // No bonus is worth a first token that is late. Where it would be so everywhere, who asks has refused it or does not mind.
  const isAnyInTime = candidates.some((one) => able(one) && !one.isLate);
  let best: number | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  let equals = 0;
  for (const [index, candidate] of candidates.entries()) {
    if (!able(candidate) || (isAnyInTime && candidate.isLate)) continue;
    const score = scoreOf(candidate, scale, weights);
    if (score < bestScore) continue;
    equals = score === bestScore ? equals + 1 : 1;
    // The nth of n equals takes the place with chance 1/n: so each has it with the same in the end.
    if (random() * equals < 1) best = index;
    bestScore = score;
  }
  return best;
}

function firstTierWithPlace(candidates: readonly Candidate[]): number | undefined {
  let first: number | undefined;
  for (const candidate of candidates) {
    if (hasPlace(candidate) && (first === undefined || candidate.tier < first)) first = candidate.tier;
  }
  return first;
}

function hasPlace({ running, limit }: Candidate): boolean {
  return running < limit;
}

function scaleOf(peers: readonly Candidate[]): Scale {
  const speeds = peers.flatMap(({ tokensPerSecond }) => tokensPerSecond ?? []);
  const usualSpeed = speeds.length === 0 ? undefined : sum(speeds) / speeds.length;
  const loads = peers.map((peer) => loadOf(peer, usualSpeed));
  const all = sum(loads.map(({ before }) => before)) + sum(loads.map(({ own }) => own)) / loads.length;
  return {
    usualSpeed,
    meanLoad: all / loads.length,
    highestPrice: Math.max(0, ...peers.map(({ price = 0 }) => price)),
  };
}

function scoreOf(candidate: Candidate, scale: Scale, weights: RoutingWeights): number {
  const { kvCacheUsage = UNKNOWN_KV_USAGE, prefixShare, isSessionHome, price = 0, running } = candidate;
  const { usualSpeed, meanLoad, highestPrice } = scale;
  const { before, own } = loadOf(candidate, usualSpeed);
  const after = before + own;
  const isOverloaded = running >= FEW_CALLS && after > MOST_OF_MEAN * meanLoad;
  const affinity = isOverloaded
    ? 0
    : weights.prefix * prefixShare + weights.session * (isSessionHome ? 1 : 0);
  return (
    affinity +
    weights.load * (after === 0 ? 1 : meanLoad / (meanLoad + after)) +
    weights.kvCache * (1 - kvCacheUsage) +
    weights.price * (highestPrice === 0 ? 1 : 1 - price / highestPrice)
  );
}

function loadOf(candidate: Candidate, usualSpeed: number | undefined): Load {
  const { running, limit, outstandingTokens, callTokens, tokensPerSecond, others = 0 } = candidate;
  if (usualSpeed === undefined) return { before: (running + others) / limit, own: 1 / limit };
  const speed = tokensPerSecond ?? usualSpeed;
  // What others have there is told in calls; they are taken to be like ours.
  const tokensPerCall = running > 0 ? outstandingTokens / running : callTokens;
  return { before: (outstandingTokens + others * tokensPerCall) / speed, own: callTokens / speed };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
