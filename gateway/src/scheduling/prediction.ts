// When would its first token come? A prediction from what waits, what runs and how fast the back ends were, in parts, so that
// a person can be told why.
// Pure: all it knows is handed in. It decides nothing, and never guesses where nothing was measured.
import type { ServiceModel } from './service-model.ts';

/** A back end that could run the call, as a prediction sees it. */
export interface Prospect {
  readonly service: Pick<
    ServiceModel,
    | 'decoding'
    | 'firstTokenMs'
    | 'holdMsPerToken'
    | 'holdVariation'
    | 'meanHoldMs'
    | 'promptTokens'
    | 'running'
  >;
  /** Calls that it may run at once. */
  readonly limit: number;
  /** Of the call's prompt, what it would have to compute. */
  readonly promptTokens: number;
  /** 0 to 1; 0: nobody was refused there lately. Absent: 1. */
  readonly pressure?: number | undefined;
  /** Where the call goes if it need not wait. */
  readonly isChosen?: boolean | undefined;
}

export interface Outlook {
  /** Those that are ready, of the first tier that could take the call. */
  readonly prospects: readonly Prospect[];
  /** Cost tokens that go before it: of those who wait (`tokensAheadOf`), and of booked places that are due soon. */
  readonly tokensAhead: number;
  /** Squared coefficient of variation of the times between arrivals; absent: 1, as if they came at random. */
  readonly arrivalVariation?: number | undefined;
}

/** In ms from now. `ms` is the sum of the three parts. */
export interface Prediction {
  readonly ms: number;
  /** Until a place is free for it. */
  readonly queueMs: number;
  /** Until its prompt is computed, and what else there is to compute before it. */
  readonly promptMs: number;
  /** The back end's own, with the streams that run beside it. */
  readonly floorMs: number;
  /** 99 of 100 come no later than this after `ms`. */
  readonly marginMs: number;
  /** 0 to 1: the part of the margin that counts for whether it is late. */
  readonly caution: number;
  /** A back end does nothing else at all: waiting would gain the call nothing. */
  readonly isIdle: boolean;
}

/** How the tokens of those who wait stand to a call that comes now, in cost tokens. */
export interface Place {
  /** Of the classes above its own. */
  readonly aboveTokens: number;
  /** Of its class, those that go before it. */
  readonly classTokens: number;
  /** Its own. */
  readonly ownTokens: number;
  /** 0 to 1: what is guaranteed to its class; 0: nothing. */
  readonly share: number;
  /** 0 to 1: what is guaranteed to the classes below it that wait. */
  readonly lowerShare: number;
}

/**
 * The part of the margin that counts where nobody was refused lately. Whoever is turned away there leaves room that nobody comes
 * for: four in five to be in time is then better than none.
 */
const LEAST_CAUTION = 1 / 3;

/** The 99th percentile of a normal distribution, in standard deviations. */
const P99 = 2.33;

/**
 * `ms` = queue + prompt + floor.
 *
 * Queue: the work before the call, less the room that is left, over the rate at which the back ends get through work when all
 * their places are taken: `(ahead - (free - 1) x mean call) / rate`, never below 0. With no place free and nobody before
 * it, that is the mean time between two calls' ends.
 * Prompt and floor: the back end's own line (`ServiceModel`), on the tokens that are to be computed when the place is
 * had. Of the free back ends the one that it goes to counts, or else the quickest; where the call must wait, whichever gets
 * free first takes it, so each counts by how often it does.
 * Margin: the root of the sum of the squares of two. That of the back end's line is measured. That of the queue is 2.33
 * standard deviations of the time that so many calls take to end, `(ahead / mean call) x V x (mean call / rate)^2`, with
 * V = (arrivals' + service's squared coefficient of variation) / 2: what Kingman's formula ("The single server queue in
 * heavy traffic", 1961) says makes a queue longer than an even stream would.
 *
 * Undefined: one that is free has not been measured enough, or, where the call must wait, none of them has. Beside others that
 * have, one that has not counts for nothing: rather too long than too short.
 */
export function predictFirstToken({
  prospects,
  tokensAhead,
  arrivalVariation = 1,
}: Outlook): Prediction | undefined {
  const free = prospects.reduce((sum, { service, limit }) => sum + Math.max(0, limit - service.running), 0);
  if (free >= 1 && tokensAhead <= 0) return withoutWaiting(prospects);
  const pace = paceTogether(prospects, (prospect) => predictablePaceOf(prospect));
  if (!pace) return undefined;
  const meanTokens = pace.tokensPerMs / pace.callsPerMs;
  const tokens = tokensAhead - (free - 1) * meanTokens;
  if (tokens <= 0) return withoutWaiting(prospects);
  const queueMs = tokens / pace.tokensPerMs;
  const calls = tokens / meanTokens;
  const variation = (arrivalVariation + pace.variation) / 2;
  const queueMarginMs = (P99 * Math.sqrt(calls * variation)) / pace.callsPerMs;
  const { promptMs, floorMs, marginMs } = afterWaiting(prospects, queueMs, pace);
  return {
    ms: queueMs + promptMs + floorMs,
    queueMs,
    promptMs,
    floorMs,
    marginMs: Math.hypot(queueMarginMs, marginMs),
    caution: 1,
    isIdle: false,
  };
}

/**
 * How much too late the first token would be, with what counts of the margin, if it is due within `withinMs`; 0: in time. A call
 * that would gain nothing by waiting is in time: refused, it would be refused for ever, and a line that has become wrong would
 * never learn better.
 */
export function latenessMs({ ms, marginMs, caution, isIdle }: Prediction, withinMs: number): number {
  return isIdle ? 0 : Math.max(0, ms + caution * marginMs - withinMs);
}

/** For people: "queue 320 ms, prompt 210 ms, floor 40 ms". */
export function explainPrediction({ queueMs, promptMs, floorMs }: Prediction): string {
  const [queue, prompt, floor] = [queueMs, promptMs, floorMs].map(Math.round);
  return `queue ${queue} ms, prompt ${prompt} ms, floor ${floor} ms`;
}

/**
 * Cost tokens that go before a call that comes now. The classes above go first, and those below have their guaranteed share
 * meanwhile; but what is guaranteed to its own class it has in any case.
 */
export function tokensAheadOf(place: Place): number {
  const { aboveTokens, classTokens, ownTokens, share, lowerShare } = place;
  const inOrder = (aboveTokens + classTokens) / (1 - Math.min(lowerShare, 0.99));
  return share > 0 ? Math.min(inOrder, (classTokens + ownTokens) / share - ownTokens) : inOrder;
}

/**
 * The rate at which places can be promised, in cost tokens a ms: what all that were measured get through together with no more
 * calls at once than leave the next one's first token within `withinMs`. Undefined: none was measured. Where no first token is
 * due, calls that ended are enough to tell.
 */
export function drainPerMs(prospects: readonly Prospect[], withinMs = Infinity): number | undefined {
  const isDue = withinMs < Infinity;
  return paceTogether(prospects, (one) => (isDue ? predictablePaceOf(one, withinMs) : paceOf(one)))
    ?.tokensPerMs;
}

/** What back ends get through with so many calls at once. */
interface Pace {
  /** Of cost tokens. */
  readonly tokensPerMs: number;
  /** A place gets free so often. */
  readonly callsPerMs: number;
  /** Squared coefficient of variation of how long calls take. */
  readonly variation: number;
}

/** Of all that have one, together; undefined: none has. */
function paceTogether(
  prospects: readonly Prospect[],
  paceOfOne: (prospect: Prospect) => Pace | undefined,
): Pace | undefined {
  let tokensPerMs = 0;
  let callsPerMs = 0;
  let variation = 0;
  for (const prospect of prospects) {
    const pace = paceOfOne(prospect);
    if (!pace) continue;
    tokensPerMs += pace.tokensPerMs;
    callsPerMs += pace.callsPerMs;
    variation += pace.callsPerMs * pace.variation;
  }
  return callsPerMs > 0 ? { tokensPerMs, callsPerMs, variation: variation / callsPerMs } : undefined;
}

/** Without first tokens of its own it would take part in the wait and not in what comes after it. */
function predictablePaceOf(prospect: Prospect, withinMs = Infinity): Pace | undefined {
  return prospect.service.firstTokenMs(0, 0) && paceOf(prospect, withinMs);
}

function paceOf(prospect: Prospect, withinMs = Infinity): Pace | undefined {
  const { service, limit } = prospect;
  const { holdMsPerToken, meanHoldMs, holdVariation } = service;
  if (holdMsPerToken === undefined || meanHoldMs === undefined || limit <= 0) return undefined;
  const calls = withinMs === Infinity ? limit : callsInTime(prospect, withinMs);
  return { tokensPerMs: calls / holdMsPerToken, callsPerMs: calls / meanHoldMs, variation: holdVariation };
}

/** The most calls at once, 1 to the limit, of which the last one to begin has its first token in time. By bisection. */
function callsInTime({ service, limit, promptTokens }: Prospect, withinMs: number): number {
  let least = 1;
  let most = limit;
  while (least < most) {
    const calls = Math.ceil((least + most) / 2);
    const estimate = service.firstTokenMs(promptTokens, calls - 1);
    if (estimate && estimate.ms + estimate.marginMs <= withinMs) least = calls;
    else most = calls - 1;
  }
  return least;
}

/** At once, on the back end that was chosen, or else the quickest. One whose speed is unknown may be that: then so is this. */
function withoutWaiting(prospects: readonly Prospect[]): Prediction | undefined {
  const chosen = prospects.find(({ isChosen }) => isChosen);
  if (chosen) return predictOn(chosen);
  let best: Prediction | undefined;
  let isIdle = false;
  for (const prospect of prospects) {
    if (prospect.service.running >= prospect.limit) continue;
    const prediction = predictOn(prospect);
    if (!prediction) return undefined;
    isIdle ||= prediction.isIdle;
    if (!best || prediction.ms + prediction.marginMs < best.ms + best.marginMs) best = prediction;
  }
  return best && { ...best, isIdle };
}

/** For a call that begins at once on this back end; undefined: not enough was measured yet. */
export function predictOn({ service, promptTokens, pressure = 1 }: Prospect): Prediction | undefined {
  const estimate = service.firstTokenMs(service.promptTokens + promptTokens, service.decoding);
  if (!estimate) return undefined;
  const { ms, floorMs, marginMs } = estimate;
  return {
    ms,
    queueMs: 0,
    promptMs: ms - floorMs,
    floorMs,
    marginMs,
    caution: Math.max(LEAST_CAUTION, pressure),
    isIdle: service.running === 0,
  };
}

/** On the last place of a full back end, after `queueMs` in which it went on with the prompts that it has now. */
function afterWaiting(
  prospects: readonly Prospect[],
  queueMs: number,
  { callsPerMs }: Pace,
): Pick<Prediction, 'promptMs' | 'floorMs' | 'marginMs'> {
  const sum = { promptMs: 0, floorMs: 0, marginMs: 0 };
  for (const prospect of prospects) {
    const { service, limit, promptTokens } = prospect;
    const decoding = Math.max(0, limit - 1);
    const own = service.firstTokenMs(promptTokens, decoding);
    const all = service.firstTokenMs(service.promptTokens + promptTokens, decoding);
    const pace = paceOf(prospect, Infinity);
    if (!pace || !own || !all) continue;
    const portion = pace.callsPerMs / callsPerMs;
    sum.promptMs += portion * (own.ms - own.floorMs + Math.max(0, all.ms - own.ms - queueMs));
    sum.floorMs += portion * own.floorMs;
    sum.marginMs += portion * own.marginMs;
  }
  return sum;
}
