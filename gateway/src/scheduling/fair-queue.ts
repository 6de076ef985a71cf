// In what order calls of one class wait for the same back ends. Between tenants: start-time fair queueing by tokens (Goyal,
// Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996), so that a flood waits behind itself and not before others; with a
// little credit for who was away (as in borrowed virtual time: Duda, Cheriton, SOSP 1999), because a few calls that come at
// once are no flood. Of one tenant's: who must leave first goes first. Where nobody said by when, the newest goes first while the
// queue is overloaded, because who came long ago has given up or will (Maurer: "Fail at Scale", ACM Queue 2015). Whether it
// is, CoDel's test says (Nichols, Jacobson: "Controlling Queue Delay", ACM Queue 2012): a queue that stands, not one that is long
// for a moment. Each tenant's line is tested by itself: one who floods must not turn the others' order.
// Every step is O(log n), and what it keeps is bounded by who waits.
import type { Clock } from '../core/clock.ts';
import { type Arrival, ArrivalList } from './arrival-list.ts';
import { Heap, type HeapItem } from './heap.ts';

/** What the queue must know of a call. */
export interface Waiting {
  readonly tenant: string;
  /** The tenant's share against those of others. Above 0. */
  readonly weight: number;
  /** What it is expected to cost. Above 0. */
  readonly tokens: number;
  /** When it came, on the queue's clock. */
  readonly since: number;
  /** When it gives up, on the queue's clock. */
  readonly dueAt: number;
  /** That is because its first token is due. It was let in because it can be there in time, so nobody newer goes before it. */
  readonly isDue: boolean;
  /** A place was kept for it: it goes before what else its tenant has here. */
  readonly isPromised: boolean;
}

/** A call's place in the queue. */
export interface Place<T> {
  readonly item: T;
}

/** The oldest of a tenant's calls waited `targetMs` or longer, at every moment of the last `intervalMs`: it is overloaded. */
export interface OverloadTest {
  readonly targetMs: number;
  readonly intervalMs: number;
}

export interface FairQueueOptions {
  readonly clock: Clock;
  /** Absent: a queue that stands is nothing unusual, and is served in order. */
  readonly overload?: OverloadTest | undefined;
}

interface Entry<T> extends Place<T>, HeapItem, Arrival {
  /** Of two that give up at once, the one with the lower number goes first. */
  readonly number: number;
  /** Where its cost is charged. */
  readonly flow: Flow<T>;
}

/** One tenant's calls. It is kept without any for as long as what it was charged could matter. */
interface Flow<T> extends HeapItem {
  readonly tenant: string;
  readonly weight: number;
  /** The virtual time at which its next call starts: what it was charged, by its weight. */
  start: number;
  /** Between flows that start at once: the lowest goes first. */
  order: number;
  tokens: number;
  readonly byDue: Heap<Entry<T>>;
  readonly arrivals: ArrivalList<Entry<T>>;
  /** Until then at least, its oldest has not waited too long. */
  calmUntil: number;
}

/**
 * The most that having been away counts for, in calls of the mean cost. With none a tenant within its share waited two to
 * three times as long beside a flood, behind its own few calls (P99; 4 to 10 tenants at 70 to 95 % of their shares, in virtual
 * time); with eight, at most an eighth longer.
 */
const MOST_CREDIT_CALLS = 8;
/** Of more tenants only so many are looked at to tell what goes before a call; the others are taken for like them. */
const MOST_LOOKED_AT = 64;
/** Weight of the newest call in the mean cost. */
const SMOOTHING = 0.05;

export class FairQueue<T extends Waiting> {
  readonly #options: FairQueueOptions;
  readonly #flows = new Map<string, Flow<T>>();
  /** Those with calls. */
  readonly #byStart = new Heap<Flow<T>>(startsBefore);
  /** Those without. */
  readonly #idle = new Heap<Flow<T>>(startsBefore);
  #virtualTime = 0;
  #meanTokens = 0;
  #changes = 0;
  #tokens = 0;
  #activeWeight = 0;
  #size = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  /** What all that waits is expected to cost. */
  get tokens(): number {
    return this.#tokens;
  }

  /** What of it is one tenant's. */
  tokensOf(tenant: string): number {
    return this.#flows.get(tenant)?.tokens ?? 0;
  }

  /** The sum of the weights of the tenants that have a call waiting, `tenant` counted as one of them. */
  activeWeightWith({ tenant, weight }: Pick<Waiting, 'tenant' | 'weight'>): number {
    return this.#activeWeight + (this.tokensOf(tenant) > 0 ? 0 : weight);
  }

  /**
   * Tokens that are served before a call of `tenant` that comes now, if nobody comes after it: its tenant's own, and of each other
   * tenant what that may have before its turn.
   */
  tokensBefore({ tenant, weight }: Pick<Waiting, 'tenant' | 'weight'>): number {
    const own = this.#flows.get(tenant);
    const ownTokens = own?.tokens ?? 0;
    const since = own && ownTokens > 0 ? own.start : Math.max(own?.start ?? -Infinity, this.#earliestStart);
    const start = since + ownTokens / weight;
    const { items } = this.#byStart;
    const most = Math.min(items.length, MOST_LOOKED_AT);
    let others = 0;
    let looked = 0;
    for (let index = 0; index < most; index += 1) {
      const flow = items[index]!;
      if (flow === own) continue;
      looked += 1;
      const ahead = start - flow.start;
      if (ahead < 0) continue;
      // Its call that begins before the turn is served whole.
      others += Math.min(flow.tokens, ahead * flow.weight + flow.byDue.first!.item.tokens);
    }
    const all = items.length - (ownTokens > 0 ? 1 : 0);
    return ownTokens + (looked > 0 ? (others * all) / looked : 0);
  }

  push(item: T): Place<T> {
    const flow = this.#flowOf(item);
    const entry: Entry<T> = { item, flow, number: this.#changes++, isGone: false, heapIndex: -1 };
    this.#size += 1;
    this.#tokens += item.tokens;
    this.#join(entry);
    return entry;
  }

  /** All that wait, in no order. */
  *[Symbol.iterator](): Generator<T> {
    for (const { arrivals } of this.#flows.values()) for (const { item } of arrivals) yield item;
  }

  /** Takes out one that is served, as a rule who is next, and charges its tenant. */
  take(place: Place<T>): void {
    const entry = place as Entry<T>;
    if (entry.isGone) return;
    const { item, flow } = entry;
    this.#virtualTime = Math.max(this.#virtualTime, flow.start);
    this.#meanTokens += (this.#meanTokens === 0 ? 1 : SMOOTHING) * (item.tokens - this.#meanTokens);
    flow.order = this.#changes++;
    this.#remove(entry);
    this.#charge(flow, item.tokens / item.weight);
  }

  /** Takes one out that is not served. Does nothing to one that is out already. */
  remove(place: Place<T>): void {
    const entry = place as Entry<T>;
    if (!entry.isGone) this.#remove(entry);
  }

  /** What one that was taken did cost: its tenant is charged that, as far as its account is still kept. */
  settle(place: Place<T>, tokens: number): void {
    const { flow, item } = place as Entry<T>;
    this.#charge(flow, (tokens - item.tokens) / item.weight);
  }

  /** Who is next; undefined: nobody waits. It may be another one at the next look: whether it is overloaded, time decides. */
  get next(): Place<T> | undefined {
    const flow = this.#byStart.first;
    if (!flow) return undefined;
    const first = flow.byDue.first!;
    const { isDue, isPromised } = first.item;
    return isDue || isPromised || !this.#isOverloaded(flow) ? first : flow.arrivals.newest;
  }

  /** The earliest that anybody's next call starts: who was away longer is like who comes for the first time. */
  get #earliestStart(): number {
    return this.#virtualTime - MOST_CREDIT_CALLS * this.#meanTokens;
  }

  #flowOf({ tenant, weight }: T): Flow<T> {
    let flow = this.#flows.get(tenant);
    if (!flow) {
      flow = {
        tenant,
        weight,
        start: this.#earliestStart,
        order: 0,
        tokens: 0,
        heapIndex: -1,
        byDue: new Heap(goesBefore),
        arrivals: new ArrivalList(),
        calmUntil: 0,
      };
      this.#flows.set(tenant, flow);
      this.#idle.push(flow);
    }
    return flow;
  }

  #join(entry: Entry<T>): void {
    const { flow } = entry;
    if (flow.byDue.size === 0) {
      this.#activeWeight += flow.weight;
      this.#idle.remove(flow);
      flow.start = Math.max(flow.start, this.#earliestStart);
      flow.order = entry.number;
      this.#byStart.push(flow);
    }
    flow.tokens += entry.item.tokens;
    flow.byDue.push(entry);
    flow.arrivals.push(entry);
    this.#look(flow);
  }

  #remove(entry: Entry<T>): void {
    const { item, flow } = entry;
    entry.isGone = true;
    this.#size -= 1;
    this.#tokens -= item.tokens;
    flow.byDue.remove(entry);
    flow.arrivals.left();
    flow.tokens -= item.tokens;
    if (flow.byDue.size === 0) this.#leave(flow);
    this.#look(flow);
    if (this.#size === 0) this.#forgetAll();
  }

  /** It has no call any more. */
  #leave(flow: Flow<T>): void {
    this.#activeWeight -= flow.weight;
    this.#byStart.remove(flow);
    this.#idle.push(flow);
  }

  #charge(flow: Flow<T>, virtualTime: number): void {
    if (flow.heapIndex < 0) return;
    flow.start += virtualTime;
    (flow.byDue.size > 0 ? this.#byStart : this.#idle).moved(flow);
    // Those of the idle ones that have all their credit are like anybody who comes for the first time.
    for (let idle = this.#idle.first; idle && idle.start <= this.#earliestStart; idle = this.#idle.first) {
      this.#idle.remove(idle);
      this.#flows.delete(idle.tenant);
    }
  }

  /** Where nobody waits, nobody was before anybody else. */
  #forgetAll(): void {
    this.#flows.clear();
    this.#byStart.clear();
    this.#idle.clear();
    this.#virtualTime = 0;
    this.#activeWeight = 0;
    this.#tokens = 0;
  }

  #isOverloaded({ calmUntil }: Flow<T>): boolean {
    const { overload, clock } = this.#options;
    return overload !== undefined && clock.now() - calmUntil >= overload.intervalMs;
  }

  /** After each change of its line: has the one who is the oldest now waited too long? */
  #look(flow: Flow<T>): void {
    const { overload, clock } = this.#options;
    if (!overload) return;
    const { oldest } = flow.arrivals;
    const now = clock.now();
    const calmUntil = oldest ? oldest.item.since + overload.targetMs : now;
    if (calmUntil >= now) flow.calmUntil = calmUntil;
  }
}

function goesBefore<T extends Waiting>(a: Entry<T>, b: Entry<T>): boolean {
  if (a.item.isPromised !== b.item.isPromised) return a.item.isPromised;
  return a.item.dueAt === b.item.dueAt ? a.number < b.number : a.item.dueAt < b.item.dueAt;
}

function startsBefore<T>(a: Flow<T>, b: Flow<T>): boolean {
  return a.start === b.start ? a.order < b.order : a.start < b.start;
}
