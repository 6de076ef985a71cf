// In what order calls of one class wait for the same back ends. Between tenants: start-time fair queueing by tokens (Goyal,
// Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996), so that a flood waits behind itself and not before others. Of one
// tenant's: who must leave first goes first; and the newest goes first while the queue is overloaded, because who came
// long ago has given up or will (Maurer: "Fail at Scale", ACM Queue 2015). Whether it is, CoDel's test says (Nichols,
// Jacobson: "Controlling Queue Delay", ACM Queue 2012): a queue that stands, not one that is long for a moment.
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
  /** It was promised that it would not wait behind who comes fresh. */
  readonly isPromised: boolean;
}

/** A call's place in the queue. */
export interface Place<T> {
  readonly item: T;
}

/** The oldest call waited `targetMs` or longer, at every moment of the last `intervalMs`: the queue is overloaded. */
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
  flow: Flow<T> | undefined;
}

/** One tenant's calls. It stays in the heap without any until its turn comes, so that what it was charged is remembered. */
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
}

export class FairQueue<T extends Waiting> {
  readonly #options: FairQueueOptions;
  readonly #flows = new Map<string, Flow<T>>();
  readonly #byStart = new Heap<Flow<T>>((a, b) =>
    a.start === b.start ? a.order < b.order : a.start < b.start,
  );
  readonly #arrivals = new ArrivalList<Entry<T>>();
  readonly #promised = new ArrivalList<Entry<T>>();
  #virtualTime = 0;
  #changes = 0;
  #tokens = 0;
  #activeWeight = 0;
  /** Until then at least, the oldest has not waited too long. */
  #calmUntil: number;

  constructor(options: FairQueueOptions) {
    this.#options = options;
    this.#calmUntil = options.clock.now();
  }

  get size(): number {
    return this.#arrivals.size;
  }

  /** What all that waits is expected to cost. */
  get tokens(): number {
    return this.#tokens;
  }

  /** What of it is one tenant's; promised places apart. */
  tokensOf(tenant: string): number {
    return this.#flows.get(tenant)?.tokens ?? 0;
  }

  /** The sum of the weights of the tenants that have a call waiting, `tenant` counted as one of them. */
  activeWeightWith({ tenant, weight }: Pick<Waiting, 'tenant' | 'weight'>): number {
    return this.#activeWeight + (this.tokensOf(tenant) > 0 ? 0 : weight);
  }

  push(item: T): Place<T> {
    const entry: Entry<T> = { item, number: this.#changes++, isGone: false, heapIndex: -1, flow: undefined };
    this.#arrivals.push(entry);
    this.#tokens += item.tokens;
    if (item.isPromised) this.#promised.push(entry);
    else this.#join(entry, this.#flowOf(item));
    this.#look();
    return entry;
  }

  /** All that wait, in the order in which they came. */
  *[Symbol.iterator](): Generator<T> {
    for (const { item } of this.#arrivals) yield item;
  }

  /** Who is next; undefined: nobody waits. */
  peek(): T | undefined {
    return this.#next()?.item;
  }

  /** Takes who is next out, and charges its tenant. */
  take(): Place<T> | undefined {
    const entry = this.#next();
    if (!entry) return undefined;
    const { item } = entry;
    const flow = this.#flowOf(item);
    if (!item.isPromised) this.#virtualTime = Math.max(this.#virtualTime, flow.start);
    flow.order = this.#changes++;
    this.#charge(flow, item.tokens / item.weight);
    this.#remove(entry);
    entry.flow = flow;
    return entry;
  }

  /** Takes one out that is not served. Does nothing to one that is out already. */
  remove(place: Place<T>): void {
    const entry = place as Entry<T>;
    if (!entry.isGone) this.#remove(entry);
  }

  /** What one that was taken did cost: its tenant is charged that, as far as its account is still kept. */
  settle(place: Place<T>, tokens: number): void {
    const { flow, item } = place as Entry<T>;
    if (!flow || flow.heapIndex < 0) return;
    this.#charge(flow, (tokens - item.tokens) / item.weight);
  }

  #next(): Entry<T> | undefined {
    const promised = this.#promised.oldest;
    if (promised) return promised;
    const flow = this.#nextFlow();
    if (!flow) return undefined;
    return this.#isOverloaded() ? flow.arrivals.newest : flow.byDue.first;
  }

  /** The flow that starts first. Those before it that have nothing to start owe nothing any more, and are forgotten. */
  #nextFlow(): Flow<T> | undefined {
    for (;;) {
      const flow = this.#byStart.first;
      if (!flow || flow.byDue.size > 0) return flow;
      this.#virtualTime = Math.max(this.#virtualTime, flow.start);
      this.#byStart.remove(flow);
      this.#flows.delete(flow.tenant);
    }
  }

  #flowOf({ tenant, weight }: T): Flow<T> {
    let flow = this.#flows.get(tenant);
    if (!flow) {
      flow = {
        tenant,
        weight,
        start: this.#virtualTime,
        order: 0,
        tokens: 0,
        heapIndex: -1,
        byDue: new Heap(givesUpBefore),
        arrivals: new ArrivalList(),
      };
      this.#flows.set(tenant, flow);
      this.#byStart.push(flow);
    }
    return flow;
  }

  #join(entry: Entry<T>, flow: Flow<T>): void {
    if (flow.byDue.size === 0) {
      this.#activeWeight += flow.weight;
      // Who was away saves up no turns.
      flow.start = Math.max(flow.start, this.#virtualTime);
      // Between tenants that start at once, too, who came last goes first in overload.
      flow.order = this.#isOverloaded() ? -entry.number : entry.number;
      this.#byStart.moved(flow);
    }
    flow.tokens += entry.item.tokens;
    flow.byDue.push(entry);
    flow.arrivals.push(entry);
    entry.flow = flow;
  }

  #charge(flow: Flow<T>, virtualTime: number): void {
    flow.start += virtualTime;
    this.#byStart.moved(flow);
  }

  #remove(entry: Entry<T>): void {
    const { item, flow } = entry;
    entry.isGone = true;
    this.#tokens -= item.tokens;
    this.#arrivals.left();
    if (item.isPromised) this.#promised.left();
    else if (flow) {
      flow.byDue.remove(entry);
      flow.arrivals.left();
      flow.tokens -= item.tokens;
      if (flow.byDue.size === 0) this.#activeWeight -= flow.weight;
    }
    if (this.size === 0) this.#forgetAll();
    this.#look();
  }

  /** Where nobody waits, nobody was before anybody else. */
  #forgetAll(): void {
    this.#flows.clear();
    this.#byStart.clear();
    this.#virtualTime = 0;
    this.#activeWeight = 0;
    this.#tokens = 0;
  }

  #isOverloaded(): boolean {
    const { overload, clock } = this.#options;
    return overload !== undefined && clock.now() - this.#calmUntil >= overload.intervalMs;
  }

  /** After each change: has the one who is the oldest now waited too long? */
  #look(): void {
    const { overload, clock } = this.#options;
    if (!overload) return;
    const oldest = this.#arrivals.oldest;
    const now = clock.now();
    const calmUntil = oldest ? oldest.item.since + overload.targetMs : now;
    if (calmUntil >= now) this.#calmUntil = calmUntil;
  }
}

function givesUpBefore<T extends Waiting>(a: Entry<T>, b: Entry<T>): boolean {
  return a.item.dueAt === b.item.dueAt ? a.number < b.number : a.item.dueAt < b.item.dueAt;
}
