// A pipeline whose back ends and clock are moved by the test: for what depends on who speaks first, and when.
import assert from 'node:assert/strict';
import type { Backend, BackendLoad, CallContext } from '../src/core/backend.ts';
import type { ChatRequest, EventSink, TokenEvent } from '../src/core/chat.ts';
import { type ErrorCode, GatewayError } from '../src/core/errors.ts';
import { newRecord, type RequestObserver, type RequestRecord } from '../src/core/observer.ts';
import type { Priority } from '../src/core/priority.ts';
import type { Ticket } from '../src/core/ticket.ts';
import type { ServedModel } from '../src/core/world.ts';
import { AnswerFold } from '../src/pipeline/partial.ts';
import { type Job, Pipeline, type PipelineOptions } from '../src/pipeline/pipeline.ts';
import { type Lease, Scheduler } from '../src/scheduling/scheduler.ts';
import { ManualClock } from './manual-clock.ts';

/** A call that a back end runs. */
export interface HandCall {
  readonly request: ChatRequest;
  readonly context: CallContext;
  readonly push: EventSink;
  readonly end: () => void;
  readonly fail: (code: ErrorCode) => void;
}

/** Hands its calls to the test; all that it does by itself is to heed the signal. */
export class HandBackend implements Backend {
  readonly id: string;
  readonly continues: 'ids' | 'text' | undefined;
  readonly calls: HandCall[] = [];
  readonly #slots: number;

  constructor(id: string, can: { readonly continues?: 'ids' | 'text'; readonly slots?: number } = {}) {
    this.id = id;
    this.continues = can.continues;
    this.#slots = can.slots ?? 9;
  }

  chat(request: ChatRequest, context: CallContext, push: EventSink): Promise<void> {
    return new Promise((resolve, reject) => {
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
      const fail = (code: ErrorCode) => reject(new GatewayError(code, `${this.id} failed.`));
      this.calls.push({ request, context, push, end: resolve, fail });
    });
  }

  load(): BackendLoad {
    return { state: 'ready', slots: this.#slots };
  }

  onLoadChange(): () => void {
    return () => {};
  }

  async close() {}

  get last(): HandCall {
    return this.calls.at(-1) ?? assert.fail(`${this.id} was not asked`);
  }

  /** Says the rest of its last call, and ends it. */
  finish(...words: readonly TokenEvent[]): void {
    for (const event of [...words, END, finish(3, words.length)]) this.last.push(event);
    this.last.end();
  }
}

/** Takes slots back as the test says: its leases are those of the real one. */
export class TakingScheduler extends Scheduler {
  readonly tickets: Ticket[] = [];
  #preempt: (() => void) | undefined;

  override async acquire(ticket: Ticket): Promise<Lease> {
    this.tickets.push(ticket);
    const lease = await super.acquire(ticket);
    const taken = new AbortController();
    this.#preempt = () => taken.abort(new GatewayError('overloaded', 'A more urgent call took the slot.'));
    return {
      backend: lease.backend,
      queueMs: lease.queueMs,
      signal: AbortSignal.any([lease.signal, taken.signal]),
      get isPreempted() {
        return taken.signal.aborted || lease.isPreempted;
      },
      spoke: () => lease.spoke(),
      release: (outcome, usage) => lease.release(outcome, usage),
    };
  }

  /** Takes the newest slot back. */
  preempt(): void {
    this.#preempt?.();
  }
}

export const END: TokenEvent = { type: 'choice-end', choice: 0, reason: 'stop' };
export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
export const start = (speaker: string): TokenEvent => ({ type: 'start', speaker });

export function text(words: string, ...tokens: readonly number[]): TokenEvent {
  return { type: 'text-delta', choice: 0, text: words, ...(tokens.length > 0 && { tokens }) };
}

export function finish(promptTokens: number, completionTokens: number): TokenEvent {
  return { type: 'finish', usage: { promptTokens, completionTokens } };
}

export function chatRequest(rest: Partial<ChatRequest> = {}): ChatRequest {
  const prompt = { kind: 'text', text: 'hello' } as const;
  return { model: 'm', prompt, sampling: {}, stop: [], choices: 1, extra: {}, ...rest };
}

/** What is particular of a request. */
export interface Ask {
  readonly id?: string;
  readonly tenant?: string;
  readonly priority?: Priority;
  readonly request?: Partial<ChatRequest>;
  readonly job?: Partial<Job>;
}

export interface HandSetUp {
  readonly model?: Partial<ServedModel>;
  readonly pipeline?: Partial<PipelineOptions>;
}

export function handPipeline(backends: readonly Backend[], { model: rest, pipeline: more }: HandSetUp = {}) {
  const clock = new ManualClock(5_000);
  const scheduler = new TakingScheduler({ clock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
  /** What observers heard, a line each. */
  const told: string[] = [];
  const observer: RequestObserver = {
    started: () => void told.push('started'),
    failedOver: (_record, code) => void told.push(`failed over ${code}`),
    continued: (_record, kind) => void told.push(`continued ${kind}`),
    hedged: (_record, result) => void told.push(`hedge ${result}`),
    preempted: () => void told.push('preempted'),
  };
  const pipeline = new Pipeline({ scheduler, observer, clock, logBytes: 1024 * 1024, ...more });
  const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
  const model: ServedModel = { id: 'm', speaker: 's', backends, ...unknown, ...rest };
  /** Starts a request and waits until a back end has it. */
  const ask = async ({
    id = 'one',
    tenant = 'someone',
    priority = 'interactive',
    request,
    job,
  }: Ask = {}) => {
    const record: RequestRecord = { ...newRecord(id, 'test', tenant, clock.now()), priority };
    const calls = [chatRequest(request)];
    const answer = pipeline.start({ record, model, calls, parallel: 1, deadlineMs: undefined, ...job });
    await turn();
    return { ...answer, record };
  };
  return { clock, scheduler, told, ask, model };
}

/** Reads to the end, also where that is an error. */
export async function readAll({ log }: { readonly log: { read(): AsyncIterable<TokenEvent> } }) {
  const fold = new AnswerFold();
  const events: TokenEvent[] = [];
  let error: GatewayError | undefined;
  try {
    for await (const event of log.read()) {
      events.push(event);
      fold.add(event);
    }
  } catch (thrown) {
    error = thrown as GatewayError;
  }
  const { choices, usage, speaker } = fold.answer();
  return { words: choices[0]?.text ?? '', usage, speaker, events, error };
}
