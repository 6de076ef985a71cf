// Where a call could run: its back ends as they are found when it comes, and which of them it goes to if several have room.
import type { Backend, BackendLoad } from '../core/backend.ts';
import { costOf } from '../core/price.ts';
import type { Ticket } from '../core/ticket.ts';
import { latenessMs, type Prospect, predictOn } from './prediction.ts';
import { type Candidate, pick, type RoutingWeights } from './router.ts';
import type { Seat } from './seat.ts';

/** A back end that could run the call, as it was found. */
export interface Placement {
  readonly seat: Seat;
  readonly tier: number;
  readonly load: BackendLoad;
  /** Calls that may run there at once, seen from this one; 0: it is not ready. */
  readonly places: number;
  /** 0 to 1: the part of the call's prompt that lies there. */
  readonly prefixShare: number;
}

export interface Routing {
  readonly weights: RoutingWeights;
  readonly random: () => number;
  /** The id of the back end on which the call's session ran last. */
  readonly home: string | undefined;
  /** When the call's first token is due, in ms from now; Infinity: at no time. */
  readonly withinMs: number;
}

/** Those that have not failed the call. */
export function candidatesOf({ backends, excluded }: Ticket): readonly Backend[] {
  return excluded ? backends.filter((backend) => !excluded.has(backend)) : backends;
}

/** Looks at the call's back ends. What is closed stays closed: it is left out. */
export function lookAt(ticket: Ticket, seatOf: (backend: Backend) => Seat): Placement[] {
  const { backends, tiers, excluded } = ticket;
  const found: Placement[] = [];
  for (const [index, backend] of backends.entries()) {
    if (excluded?.has(backend)) continue;
    const load = backend.load();
    if (load.state === 'closed') continue;
    const seat = seatOf(backend);
    const tier = tiers?.[index] ?? index;
    found.push({
      seat,
      tier,
      load,
      places: seat.placesFor(ticket, load),
      prefixShare: seat.prefixShareOf(ticket),
    });
  }
  return found;
}

/** Of those with a free place, the one that the call goes to. */
export function route(
  placements: readonly Placement[],
  ticket: Ticket,
  { weights, random, home, withinMs }: Routing,
): Placement | undefined {
  const { cost, prices } = ticket;
  const ready = placements.filter(({ seat, places }) => places > 0 && !seat.isKeptFrom(ticket));
  // Where less is left by its limits than the call needs, it would be refused; there it goes for want of any other.
  const able = ready.filter(({ load }) => (load.budget?.tokens ?? Infinity) >= cost.promptTokens);
  const those = able.some(hasRoom) ? able : ready;
  if (those.length < 2) return those.find(hasRoom);
  const index = pick(
    those.map((placement): Candidate => {
      const { seat, tier, load, places, prefixShare } = placement;
      const { promptTokens, outputTokens: completionTokens } = cost;
      const prediction = predictOn(prospectOf(placement, promptTokens));
      const cachedTokens = promptTokens * prefixShare;
      const price = prices?.get(seat.backend.id);
      return {
        tier,
        running: seat.running,
        limit: places,
        isLate: prediction !== undefined && latenessMs(prediction, withinMs) > 0,
        outstandingTokens: seat.outstandingTokens,
        callTokens: promptTokens - cachedTokens + completionTokens,
        tokensPerSecond: seat.service.tokensPerSecond(places),
        others: load.others,
        kvCacheUsage: load.kvCacheUsage,
        prefixShare,
        isSessionHome: seat.backend.id === home,
        price: price && costOf(price, { promptTokens, cachedTokens, completionTokens }),
      };
    }),
    weights,
    random,
  );
  return index === undefined ? undefined : those[index];
}

/** What a prediction is made from: where there is room, those of that tier; else all, for any of them may be free first. */
export function prospectsOf(
  placements: readonly Placement[],
  { cost }: Ticket,
  free: Placement | undefined,
): Prospect[] {
  const prospects: Prospect[] = [];
  for (const placement of placements) {
    const { tier, places } = placement;
    if (places <= 0 || (free && tier !== free.tier)) continue;
    prospects.push({ ...prospectOf(placement, cost.promptTokens), isChosen: placement === free });
  }
  return prospects;
}

function prospectOf({ seat, places, prefixShare }: Placement, promptTokens: number): Prospect {
  return {
    service: seat.service,
    limit: places,
    promptTokens: promptTokens * (1 - prefixShare),
    pressure: seat.refused.pressure,
  };
}

function hasRoom({ seat, places }: Placement): boolean {
  return seat.running < places;
}
