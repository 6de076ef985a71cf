// Sends a load: each request at its time whoever is still being answered (open loop), or a few clients that ask again as
// soon as they have their answer (closed loop). Times count from the moment at which a request was due, so a server that
// is slow cannot hide it by slowing us (coordinated omission: Gil Tene, "How not to measure latency").
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../core/clock.ts';
import type { LoadRecord } from './load-record.ts';
import type { Asked, Heard } from './streamed-request.ts';

export interface WantedRequest {
  readonly body: string;
  readonly key: string | undefined;
  /** Whose it is, for the figures. */
  readonly tenant: string;
}

/** Open: when each is due, in ms from the start, rising. Closed: so many clients, so many requests in all. */
export type Pace =
  | { readonly kind: 'open'; readonly atMs: readonly number[] }
  | { readonly kind: 'closed'; readonly clients: number; readonly requests: number };

export interface LoadOptions {
  readonly clock: Clock;
  /** Resolves however the request ends, and never rejects. */
  readonly ask: (asked: Asked) => Promise<Heard>;
  readonly pace: Pace;
  /** Of the visitor with this number; the same whenever it is asked for: who comes back asks the same. */
  readonly request: (visitor: number) => WantedRequest;
  /** A client leaves when no word comes for so long, in ms. */
  readonly patienceMs: number;
  /** How often one who was refused comes back, at the time that the server named. */
  readonly returns: number;
  /** Requests in flight at once; others are held back, and their time runs. Infinity: no bound. */
  readonly maxConcurrency: number;
  readonly record: LoadRecord;
  /** Aborted: nobody comes any more, and who is there leaves. */
  readonly signal: AbortSignal;
}

/** Who is told to come later than this, in ms, does not. */
export const MOST_RETRY_MS = 120_000;
/** So many are sent in one go where many are due at once; then what has come is read. */
const MOST_SENT_AT_ONCE = 32;

/** Resolves when all have their end. The times of arrivals count from the record's start. */
export async function runLoad(options: LoadOptions): Promise<void> {
  const { pace } = options;
  // The clock's timers alone do not keep a process alive.
  const alive = setInterval(() => {}, 60_000);
  try {
    await (pace.kind === 'open' ? openLoop(options, pace.atMs) : closedLoop(options, pace));
  } finally {
    clearInterval(alive);
  }
}

async function openLoop(options: LoadOptions, atMs: readonly number[]): Promise<void> {
  const { clock, signal, maxConcurrency, record } = options;
  const { startedAt } = record;
  const gate = new Gate(maxConcurrency, clock);
  const visits: Promise<void>[] = [];
  for (const [visitor, at] of atMs.entries()) {
    await sleepUntil(startedAt + at, clock, signal);
    if (signal.aborted) break;
    visits.push(visit(options, gate, visitor, startedAt + at));
    if (visitor % MOST_SENT_AT_ONCE === MOST_SENT_AT_ONCE - 1) await nextTurn();
  }
  await Promise.all(visits);
}

async function closedLoop(options: LoadOptions, pace: Pace & { kind: 'closed' }): Promise<void> {
  const { clock, signal, maxConcurrency } = options;
  const gate = new Gate(maxConcurrency, clock);
  let next = 0;
  const client = async () => {
    while (next < pace.requests && !signal.aborted) {
      const visitor = next;
      next += 1;
      await visit(options, gate, visitor, clock.now());
    }
  };
  await Promise.all(Array.from({ length: pace.clients }, client));
}

/** One visitor, until there is an answer, or no hope of one. */
async function visit(options: LoadOptions, gate: Gate, visitor: number, firstDueAt: number): Promise<void> {
  const { clock, ask, request, patienceMs, returns, record, signal } = options;
  const { body, key, tenant } = request(visitor);
  let dueAt = firstDueAt;
  for (let number = 1; !signal.aborted; number += 1) {
    const mayGoAt = await gate.enter();
    if (signal.aborted) {
      gate.leave();
      return;
    }
    const sentAt = clock.now();
    const lateMs = Math.max(0, sentAt - Math.max(dueAt, mayGoAt));
    record.sent(sentAt);
    const onWord = (at: number) => record.word(at);
    const heard = await ask({ body, key, patienceMs, since: dueAt, signal, onWord });
    gate.leave();
    record.ended({ visitor, number, tenant, dueAt, lateMs }, heard);
    const { retryAfterMs = Number.POSITIVE_INFINITY } = heard;
    if (heard.ending !== 'refused' || number > returns || retryAfterMs > MOST_RETRY_MS) return;
    dueAt = heard.endedAt + retryAfterMs;
    await sleepUntil(dueAt, clock, signal);
  }
}

/** Lets so many in at once; the others wait in their order. */
class Gate {
  private free: number;
  private readonly clock: Clock;
  private readonly waiting: ((at: number) => void)[] = [];

  constructor(width: number, clock: Clock) {
    this.free = width;
    this.clock = clock;
  }

  /** Resolves with the time from which one could go in. */
  enter(): Promise<number> {
    if (this.free > 0) {
      this.free -= 1;
      return Promise.resolve(Number.NEGATIVE_INFINITY);
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  leave(): void {
    const next = this.waiting.shift();
    if (next) next(this.clock.now());
    else this.free += 1;
  }
}

/** Resolves at once where the time has come, or the signal is aborted. */
function sleepUntil(at: number, clock: Clock, signal: AbortSignal): Promise<void> | undefined {
  const leftMs = at - clock.now();
  if (leftMs <= 0 || signal.aborted) return undefined;
  return new Promise((resolve) => {
    const wake = () => {
      cancel();
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.after(leftMs, wake);
    signal.addEventListener('abort', wake);
  });
}
