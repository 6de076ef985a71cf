// The numbers of `/metrics`, by prom-client. It watches requests and never changes one.
// Labels come from closed sets only: what a client writes is never one.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Registry } from 'prom-client';
import type { Backend, BackendLoad } from '../core/backend.ts';
import { ERROR_TRAITS, type ErrorCode } from '../core/errors.ts';
import {
  type ContinuationKind,
  type HedgeResult,
  type RequestObserver,
  type RequestOutcome,
  type RequestRecord,
  type ResumeOutcome,
  STUTTER_MS,
} from '../core/observer.ts';
import { ErrorRate } from './error-rate.ts';
import { Histogram, type HistogramChild } from './histogram.ts';

export interface MetricsSources {
  readonly backends: () => Iterable<Backend>;
  readonly queue: () => { readonly waiting: number; readonly running: number };
  /** Calls that a back end is given at once now. */
  readonly placesOn: (backend: Backend) => number;
  /** Answers that clients may come again for, and what they hold. */
  readonly kept: () => { readonly count: number; readonly bytes: number };
  /** Open sockets, and their frames since the start by kind. */
  readonly sockets: () => {
    readonly connections: number;
    readonly frames: Readonly<Record<string, number>>;
  };
  /** The limits of models, each in its own unit. */
  readonly limits: () => Iterable<LimitUse>;
}

/** How much of a model's limit is used now. */
interface LimitUse {
  readonly model: string;
  /** As the configuration has it. */
  readonly name: string;
  readonly limit: number;
  readonly used: number;
}

const LATENCY_BUCKETS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 8, 12, 20, 30, 60, 120, 300];
const FIRST_TOKEN_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 2, 3, 5, 8, 12, 20, 30, 60];
const ERROR_BUCKETS = [-10, -5, -2, -1, -0.5, -0.2, -0.1, -0.05, 0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const GAP_BUCKETS = [0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1, 2, 5, 10];
const STEP_BUCKETS = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2];
const LOOP_RESOLUTION_MS = 10;

/** Refused at the door: by these an honest burst would fire its own alert if they counted as errors. */
const REFUSALS: ReadonlySet<RequestOutcome> = new Set<ErrorCode>(['rate_limited', 'overloaded', 'not_ready']);

/** All there are, so that a state that was left reads 0 and not nothing. */
const BACKEND_STATES: readonly BackendLoad['state'][] = [
  'loading',
  'ready',
  'busy',
  'down',
  'failed',
  'closed',
];

export class Metrics implements RequestObserver {
  readonly #registry = new Registry();
  readonly #errors = new ErrorRate();
  readonly #latency = this.#histogram(
    'api_latency_seconds',
    'From the request to its last byte.',
    LATENCY_BUCKETS,
  );
  readonly #queue = this.#histogram('sluice_queue_seconds', 'Wait for a slot.', FIRST_TOKEN_BUCKETS);
  readonly #firstToken = this.#histogram(
    'sluice_time_to_first_token_seconds',
    'To the first text, reasoning or tool call.',
    FIRST_TOKEN_BUCKETS,
  );
  readonly #predictionError = this.#histogram(
    'sluice_prediction_error_seconds',
    'How much later than predicted the first token came; below 0: earlier.',
    ERROR_BUCKETS,
  );
  readonly #firstAnswer = this.#histogram(
    'sluice_time_to_first_answer_seconds',
    'To the first text of the answer itself.',
    FIRST_TOKEN_BUCKETS,
  );
  readonly #gaps = new Histogram({
    name: 'sluice_inter_token_seconds',
    help: 'Silence between two pieces.',
    buckets: GAP_BUCKETS,
    registry: this.#registry,
  });
  readonly #gapChildren = new Map<string, HistogramChild>();
  readonly #steps = this.#histogram(
    'sluice_engine_step_seconds',
    'One step of the embedded engine.',
    STEP_BUCKETS,
  );
  readonly #stutters = new Counter({
    name: 'sluice_stutters_total',
    help: 'Silences over 500 ms that a stream had for who read it.',
    labelNames: ['model', 'backend'],
    registers: [this.#registry],
  });
  readonly #promptTokens = this.#counter('sluice_prompt_tokens_total', 'Tokens of prompts.');
  readonly #cachedTokens = this.#counter('sluice_cached_tokens_total', 'Of those: not computed again.');
  readonly #completionTokens = this.#counter('sluice_completion_tokens_total', 'Tokens of answers.');
  readonly #requests = new Counter({
    name: 'sluice_requests_total',
    help: 'Requests to a model by how they ended.',
    labelNames: ['route', 'model', 'outcome'],
    registers: [this.#registry],
  });
  /** By route, model and outcome. */
  readonly #requestChildren = new Map<string, Map<string, Map<RequestOutcome, Counter.Internal>>>();
  readonly #refusals = new Counter({
    name: 'sluice_refusals_total',
    help: 'Requests that were turned away before any work, by reason.',
    labelNames: ['reason'],
    registers: [this.#registry],
  });
  readonly #failovers = new Counter({
    name: 'sluice_failovers_total',
    help: 'Attempts that failed before they had said anything and were made again, by why.',
    labelNames: ['code'],
    registers: [this.#registry],
  });
  readonly #continuations = new Counter({
    name: 'sluice_continuations_total',
    help: 'Answers that went on after losing their back end, by how.',
    labelNames: ['kind'],
    registers: [this.#registry],
  });
  readonly #hedges = new Counter({
    name: 'sluice_hedges_total',
    help: 'Calls that were sent to a second back end, by whether that one gave the answer.',
    labelNames: ['result'],
    registers: [this.#registry],
  });
  readonly #preemptions = this.#counter(
    'sluice_preemptions_total',
    'Slots that calls gave back to more urgent ones.',
  );

  readonly #resumes = new Counter({
    name: 'sluice_resumes_total',
    help: 'Requests that came for an answer that is kept, by what became of them.',
    labelNames: ['outcome'],
    registers: [this.#registry],
  });
  readonly #degraded = new Counter({
    name: 'sluice_degraded_total',
    help: 'Answers for which something was given up, by what.',
    labelNames: ['step'],
    registers: [this.#registry],
  });

  constructor({ backends, queue, placesOn, kept, sockets, limits }: MetricsSources) {
    this.#gauge(
      'error_rate',
      'Of the admitted requests of 5 minutes: the part that failed, 0 to 1.',
      [],
      (gauge) => gauge.set(this.#errors.value(performance.now())),
    );
    this.#gauge('sluice_requests_running', 'Calls that hold a slot.', [], (gauge) =>
      gauge.set(queue().running),
    );
    this.#gauge('sluice_requests_waiting', 'Calls that wait for one.', [], (gauge) =>
      gauge.set(queue().waiting),
    );
    this.#gauge('sluice_kept_answers', 'Answers that clients may come again for.', [], (gauge) =>
      gauge.set(kept().count),
    );
    this.#gauge('sluice_kept_bytes', 'What is kept of them.', [], (gauge) => gauge.set(kept().bytes));
    this.#gauge('sluice_socket_connections', 'Open sockets.', [], (gauge) =>
      gauge.set(sockets().connections),
    );
    this.#countedFrames(sockets);
    this.#gauge(
      'sluice_model_limit',
      'What all keys together may use of a model, by the limits of its configuration.',
      ['model', 'limit'],
      (gauge) => {
        for (const { model, name, limit } of limits()) gauge.set({ model, limit: name }, limit);
      },
    );
    this.#gauge(
      'sluice_model_limit_used',
      'What is used of such a limit now.',
      ['model', 'limit'],
      (gauge) => {
        for (const { model, name, used } of limits()) gauge.set({ model, limit: name }, used);
      },
    );
    this.#gauge('sluice_slots', 'Calls that a back end runs at once.', ['backend'], (gauge) => {
      for (const backend of backends()) gauge.set({ backend: backend.id }, backend.load().slots);
    });
    this.#gauge(
      'sluice_backend_limit',
      'Of its slots: as many as are used at once, where that is found out.',
      ['backend'],
      (gauge) => {
        for (const backend of backends()) gauge.set({ backend: backend.id }, placesOn(backend));
      },
    );
    this.#gauge('sluice_backend_up', '1 while the back end takes calls.', ['backend'], (gauge) => {
      for (const backend of backends()) {
        gauge.set({ backend: backend.id }, backend.load().state === 'ready' ? 1 : 0);
      }
    });
    this.#gauge(
      'sluice_backend_state',
      'How a back end is: 1 for the state that it is in, 0 for the others.',
      ['backend', 'state'],
      (gauge) => {
        for (const backend of backends()) {
          const { state: present } = backend.load();
          for (const state of BACKEND_STATES) {
            gauge.set({ backend: backend.id, state }, state === present ? 1 : 0);
          }
        }
      },
    );
    this.#gauge(
      'gpu_utilization',
      'Busy part, 0 to 1, of what computes; `source` says what that is.',
      ['source'],
      (gauge) => {
        for (const backend of backends()) {
          const { utilization } = backend.load();
          if (utilization !== undefined) gauge.set({ source: 'engine' }, utilization);
        }
      },
    );
    this.#watchEventLoop();
  }

  /** One step of the embedded engine took this long. */
  readonly engineStep = (seconds: number): void => this.#steps.observe(seconds);

  async render(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  started({ queueMs }: RequestRecord): void {
    this.#queue.observe((queueMs ?? 0) / 1000);
  }

  /** Once for each piece of every stream: nothing is looked up here that need not be. */
  gap({ model, backend = '' }: RequestRecord, gapMs: number, heardMs: number): void {
    let gaps = this.#gapChildren.get(model);
    if (!gaps) {
      gaps = this.#gaps.child({ model });
      this.#gapChildren.set(model, gaps);
    }
    gaps.observe(gapMs / 1000);
    if (heardMs > STUTTER_MS) this.#stutters.inc({ model, backend });
  }

  failedOver(_record: RequestRecord, code: ErrorCode): void {
    this.#failovers.inc({ code });
  }

  continued(_record: RequestRecord, kind: ContinuationKind): void {
    this.#continuations.inc({ kind });
  }

  hedged(_record: RequestRecord, result: HedgeResult): void {
    this.#hedges.inc({ result });
  }

  preempted(): void {
    this.#preemptions.inc();
  }

  resumed(outcome: ResumeOutcome): void {
    this.#resumes.inc({ outcome });
  }

  ended(record: RequestRecord, outcome: RequestOutcome, totalMs: number): void {
    this.#requestsBy(record, outcome).inc();
    if (REFUSALS.has(outcome)) {
      this.#refusals.inc({ reason: outcome });
      return;
    }
    if (!record.admitted) return;
    this.#errors.add(performance.now(), isFailure(outcome));
    this.#latency.observe(totalMs / 1000);
    if (record.firstTokenMs !== undefined) this.#firstToken.observe(record.firstTokenMs / 1000);
    this.#predicted(record);
    if (record.firstAnswerMs !== undefined) this.#firstAnswer.observe(record.firstAnswerMs / 1000);
    const { promptTokens = 0, cachedTokens = 0, completionTokens = 0 } = record.usage ?? {};
    this.#promptTokens.inc(promptTokens);
    this.#cachedTokens.inc(cachedTokens);
    this.#completionTokens.inc(completionTokens);
    for (const step of record.degraded) this.#degraded.inc({ step });
  }

  /** Where another back end had to take over, the prediction was of the one before. */
  #predicted({ firstTokenMs, predictedFirstTokenMs, failovers }: RequestRecord): void {
    if (firstTokenMs === undefined || predictedFirstTokenMs === undefined || failovers > 0) return;
    this.#predictionError.observe((firstTokenMs - predictedFirstTokenMs) / 1000);
  }

  /** The sets are closed, so each child is made once; no name is put together to find it, for that would have to be hashed anew. */
  #requestsBy({ route, model }: RequestRecord, outcome: RequestOutcome): Counter.Internal {
    const children = entryOf(entryOf(this.#requestChildren, route), model);
    let child = children.get(outcome);
    if (!child) {
      child = this.#requests.labels({ route, model, outcome });
      children.set(outcome, child);
    }
    return child;
  }

  #histogram(name: string, help: string, buckets: readonly number[]): HistogramChild {
    return new Histogram({ name, help, buckets, registry: this.#registry }).child();
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  /** Counted where they pass, as plain numbers: a look-up of labels for each of them would be felt. */
  #countedFrames(sockets: MetricsSources['sockets']): void {
    new Counter({
      name: 'sluice_socket_frames_total',
      help: 'Frames on sockets, either way, by kind.',
      labelNames: ['kind'],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [kind, count] of Object.entries(sockets().frames)) this.inc({ kind }, count);
      },
    });
  }

  #gauge(name: string, help: string, labelNames: string[], read: (gauge: Gauge) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        // What is gone since the last look must not stay in the picture.
        this.reset();
        read(this);
      },
    });
  }

  /** How late timers came since the last look: a gateway that computes instead of waiting shows here. */
  #watchEventLoop(): void {
    const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
    delay.enable();
    this.#gauge(
      'sluice_event_loop_delay_seconds',
      'Lateness of timers since the last scrape.',
      ['quantile'],
      (gauge) => {
        for (const quantile of [50, 99]) {
          // Node records from one tick of its timer to the next: an idle loop reads as the timer's own interval.
          const lateMs = delay.count > 0 ? delay.percentile(quantile) / 1e6 - LOOP_RESOLUTION_MS : 0;
          gauge.set({ quantile: String(quantile / 100) }, Math.max(0, lateMs) / 1000);
        }
        delay.reset();
      },
    );
  }
}

/** The map under a name, a new one where there is none. */
function entryOf<Key, Value>(maps: Map<string, Map<Key, Value>>, name: string): Map<Key, Value> {
  let map = maps.get(name);
  if (!map) {
    map = new Map();
    maps.set(name, map);
  }
  return map;
}

/** 5xx and broken streams. A client that left, or sent nonsense, is no failure of ours. */
function isFailure(outcome: RequestOutcome): boolean {
  return outcome !== 'ok' && outcome !== 'cancelled' && ERROR_TRAITS[outcome].status >= 500;
}
