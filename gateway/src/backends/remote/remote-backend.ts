// Another server as a back end: its calls, its health, what it says of itself. Vendors differ by their row in vendors.ts
// alone; sockets are transport.ts's.
// It must never send a client's own key on, and never show anyone the back end's.
import type { AdaptiveLimit, Backend, BackendLoad, CallContext, CallOrigin } from '../../core/backend.ts';
import { Bag } from '../../core/bag.ts';
import { type ChatRequest, type EventSink, isDelta } from '../../core/chat.ts';
import { ERROR_TRAITS, GatewayError, toGatewayError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { type AnswerLimits, exchangeAnswer } from './answer-exchange.ts';
import { Brake } from './brake.ts';
import { Health, type HealthState, loadStateOf } from './health.ts';
import { type ProbeResult, probe } from './load-probe.ts';
import { originHeaders } from './origin-headers.ts';
import type { Environment } from './proxy.ts';
import { exchangeQuestion, type Question } from './question-exchange.ts';
import { RateBudget } from './rate-budget.ts';
import { RestTimer } from './rest-timer.ts';
import { planPrefix, type SplicePlan } from './splice.ts';
import { countTokens } from './token-count.ts';
import { Transport } from './transport.ts';
import { isBroken, isUnreachable } from './transport-error.ts';
import { upstreamCall } from './upstream-dialect.ts';
import { upstreamError } from './upstream-error.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';
import { embeddingQuestion, rerankQuestion } from './vectors.ts';
import { type TraitOverrides, type Traits, traitsOf, type VendorKind } from './vendors.ts';

export interface RemoteBackendOptions extends AnswerLimits {
  readonly id: string;
  /** Of its API, as an OpenAI client's base URL. */
  readonly url: string;
  readonly kind: VendorKind;
  readonly apiKey?: string | undefined;
  readonly overrides?: TraitOverrides | undefined;
  /** Tokens that prompt and answer share, where the server would cut a longer prompt in silence. */
  readonly contextWindow?: number | undefined;
  /** From one look at an idle server to the next, in ms. */
  readonly probeIntervalMs: number;
  /** Where proxies are named. */
  readonly env: Environment;
  readonly log: Log;
}

const PROBE_LIMIT_MS = 5_000;

type OnHead = (status: number, headers: UpstreamHeaders) => void;

export class RemoteBackend implements Backend {
  readonly id: string;
  readonly #options: RemoteBackendOptions;
  /** Those of its kind; a generic one may turn out to be of another. */
  #traits: Traits;
  readonly #transport: Transport;
  readonly #basePath: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #health: Health;
  readonly #budget = new RateBudget(() => performance.now(), Date.now);
  readonly #listeners = new Set<() => void>();
  readonly #calls = new Bag<Brake>();
  #trialRuns = false;
  #isClosed = false;
  #heardAt = Number.NEGATIVE_INFINITY;
  #probeTimer: NodeJS.Timeout | undefined;
  readonly #restTimer = new RestTimer();
  readonly #budgetTimer = new RestTimer();
  #isLooking = false;
  #logged: HealthState = 'unknown';
  #found: ProbeResult | undefined;
  /** Of the calls that it says it has, those that were not ours. */
  #others: number | undefined;

  constructor(options: RemoteBackendOptions) {
    const { origin, pathname } = new URL(options.url);
    this.id = options.id;
    this.#options = options;
    this.#traits = traitsOf(options.kind, options.overrides);
    this.#transport = new Transport({ origin, env: options.env });
    this.#basePath = pathname.replace(/\/+$/, '');
    this.#headers = {
      'content-type': 'application/json',
      ...(options.apiKey !== undefined && { authorization: `Bearer ${options.apiKey}` }),
    };
    this.#health = new Health({
      now: () => performance.now(),
      random: Math.random,
      onChange: (state, reason) => this.#onHealth(state, reason),
    });
  }

  get answersSeveral(): boolean {
    return this.#traits.answersSeveral;
  }

  get limit(): AdaptiveLimit | undefined {
    const { limit } = this.#traits;
    return limit === 'fixed' ? undefined : { kind: limit, most: this.#places };
  }

  get continues(): 'text' | undefined {
    return this.#traits.prefill && 'text';
  }

  get continuesThought(): boolean {
    return this.#traits.prefill?.reasoningField !== undefined;
  }

  /** Begins to look whether it is there, and goes on to. */
  start(): void {
    void this.#look();
  }

  async chat(asked: ChatRequest, context: CallContext, sink: EventSink): Promise<void> {
    context.signal.throwIfAborted();
    const request = this.#traits.streamsOnly ? { ...asked, isWhole: false } : asked;
    if (this.#isClosed) throw new GatewayError('backend_failed', 'The back end was taken away.');
    const plan = this.#planPrefix(request);
    const server = {
      traits: this.#traits,
      basePath: this.#basePath,
      contextWindow: this.#options.contextWindow,
    };
    const call = upstreamCall(request, server, plan?.prefix);
    await this.#counted(context, (brake, isTrial) =>
      this.#budgeted((onHead) =>
        exchangeAnswer(this.#transport, {
          request,
          call,
          plan,
          traits: this.#traits,
          limits: this.#options,
          headers: this.#headersFor(context.origin),
          signal: context.signal,
          brake,
          sink: isTrial ? this.#tried(sink) : sink,
          onHead,
          errorOf: (status, headers, text) => this.#errorOf(status, headers, text),
        }),
      ),
    );
  }

  get embed(): Backend['embed'] {
    const { embedding } = this.#traits;
    if (!embedding) return undefined;
    return async (request, context) =>
      await this.#ask(embeddingQuestion(request, this.#basePath, embedding), context);
  }

  get rerank(): Backend['rerank'] {
    if (!this.#traits.reranks) return undefined;
    return (request, context) => this.#ask(rerankQuestion(request, this.#basePath), context);
  }

  /** A question whose answer is read whole. */
  async #ask<Answer>(question: Question<Answer>, context: CallContext): Promise<Answer> {
    context.signal.throwIfAborted();
    if (this.#isClosed) throw new GatewayError('backend_failed', 'The back end was taken away.');
    const headers = this.#headersFor(context.origin);
    const { answerTimeoutMs } = this.#options;
    const { signal } = context;
    return await this.#counted(context, (brake) =>
      this.#budgeted((onHead) =>
        exchangeQuestion(this.#transport, {
          ...{ question, headers, answerTimeoutMs, signal, brake, onHead },
          errorOf: (status, head, text) => this.#errorOf(status, head, text),
        }),
      ),
    );
  }

  /** An exchange whose answer's head tells what its server still takes. */
  async #budgeted<T>(exchange: (onHead: OnHead) => Promise<T>): Promise<T> {
    const answered = this.#budget.sent();
    try {
      return await exchange((status, headers) => {
        answered(status, headers);
        this.#onBudget();
      });
    } finally {
      answered();
    }
  }

  /** Work for a call, as one of those that this server has: it ends with its client, and its end says how the server is. */
  async #counted<T>(context: CallContext, work: (brake: Brake, isTrial: boolean) => Promise<T>): Promise<T> {
    const brake = new Brake();
    const isTrial = this.#health.state === 'trial';
    if (isTrial) this.#trialRuns = true;
    const held = this.#calls.add(brake);
    try {
      const result = await work(brake, isTrial);
      this.#health.succeeded();
      return result;
    } catch (thrown) {
      const error = toGatewayError(thrown);
      this.#judge(error, context.signal);
      throw error;
    } finally {
      this.#heardAt = performance.now();
      this.#calls.remove(held);
      if (isTrial) {
        this.#trialRuns = false;
        this.#tell();
      }
    }
  }

  countTokens(request: ChatRequest, { signal }: CallContext): Promise<number | undefined> {
    const server = { basePath: this.#basePath, traits: this.#traits, headers: this.#headers };
    return countTokens(this.#transport, request, { ...server, signal });
  }

  tryNow(): boolean {
    return !this.#isClosed && this.#health.tryNow();
  }

  load(): BackendLoad {
    if (this.#isClosed)
      return { state: 'closed', reason: `The back end ${this.id} was taken away.`, slots: 0 };
    const { state, reason, retryAfterMs } = this.#health;
    const isReady = state === 'ready' || state === 'trial';
    const budget = this.#budget.current;
    const isUsedUp = isReady && this.#budget.isUsedUp;
    const notReached = state === 'unknown' ? `The back end ${this.id} was not reached yet.` : undefined;
    const restMs = isReady || state === 'unknown' ? undefined : retryAfterMs;
    // In one piece, since each call asks several times: what is spread into an object costs more than all of it.
    return {
      state: isUsedUp ? 'busy' : loadStateOf(state),
      reason: isUsedUp
        ? `The limits of the back end ${this.id} are used up until they begin anew.`
        : (reason ?? notReached),
      retryAfterMs: isUsedUp ? budget?.resetMs : restMs,
      slots: isReady && !isUsedUp ? this.#slotsWith(budget) : 0,
      running: this.#found?.running,
      waiting: this.#found?.waiting,
      others: this.#others,
      kvCacheUsage: this.#found?.kvCacheUsage,
      budget,
    };
  }

  #slotsWith(budget: BackendLoad['budget']): number {
    const running = this.#calls.size;
    // One call finds out whether it is well again.
    if (this.#health.state === 'trial') return running + (this.#trialRuns ? 0 : 1);
    return Math.min(this.#places, running + (budget?.requests ?? this.#places));
  }

  /** Calls at once, by the user, itself or its kind. */
  get #places(): number {
    return this.#options.overrides?.slots ?? this.#found?.slots ?? this.#traits.slots;
  }

  models(): readonly string[] {
    return this.#found?.models ?? [];
  }

  onLoadChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#probeTimer);
    this.#restTimer.stop();
    this.#budgetTimer.stop();
    const gone = new GatewayError('backend_failed', 'The back end was taken away.');
    for (const brake of this.#calls.items) brake.pull(gone);
    this.#tell();
    this.#transport.close();
  }

  /** A word is enough: who waits for the end of a long answer leaves a server idle that is well again. */
  #tried(sink: EventSink): EventSink {
    return (event) => {
      if (isDelta(event) && this.#health.state === 'trial') {
        this.#trialRuns = false;
        this.#health.succeeded();
      }
      sink(event);
    };
  }

  #planPrefix({ continueFrom, prompt }: ChatRequest): SplicePlan | undefined {
    if (!continueFrom) return undefined;
    const text = continueFrom.choices[0]?.text ?? '';
    // Plain text goes on as it stands.
    if (prompt.kind === 'text') return { prefix: text, overlap: '', repeats: false, trims: false };
    const { prefill } = this.#traits;
    if (prefill) return planPrefix(text, prefill);
    const message = 'The back end of this model cannot go on with an answer that was begun.';
    throw new GatewayError('invalid_request', message, { param: 'messages' });
  }

  #headersFor(origin: CallOrigin | undefined): Readonly<Record<string, string>> {
    return { ...this.#headers, ...originHeaders(origin, this.#traits.isSluice) };
  }

  /** What a call came to, for the breaker. The client's leaving and the request's own faults are not the server's. */
  #judge(error: GatewayError, signal: AbortSignal): void {
    if (signal.aborted) return;
    if (error.code === 'backend_busy') this.#health.busy(error.retryAfterMs, error.message);
    else if (error.code === 'loop_detected') return;
    else if (ERROR_TRAITS[error.code].elsewhere) {
      this.#health.failed(error.message, { unreachable: isUnreachable(error), broken: isBroken(error) });
    } else if (error.code === 'backend_refused' || error.code === 'context_length_exceeded') {
      this.#health.succeeded();
    }
  }

  #errorOf(status: number, headers: UpstreamHeaders, body: string): GatewayError {
    const { apiKey } = this.#options;
    return upstreamError(status, headers, body, { secrets: apiKey === undefined ? [] : [apiKey] });
  }

  /** A look at a server that nobody has heard of lately; then the next. */
  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    clearTimeout(this.#probeTimer);
    const { probeIntervalMs, kind } = this.#options;
    const isQuiet = performance.now() - this.#heardAt >= probeIntervalMs;
    const mustLook =
      this.#health.state === 'unknown' || this.#health.state === 'down' || this.#traits.load !== undefined;
    if (isQuiet || mustLook) {
      try {
        this.#found = await probe(this.#transport, {
          basePath: this.#basePath,
          kind,
          traits: this.#traits,
          headers: this.#headers,
          signal: AbortSignal.timeout(PROBE_LIMIT_MS),
        });
        const { running, waiting = 0 } = this.#found;
        this.#others = running === undefined ? undefined : Math.max(0, running + waiting - this.#calls.size);
        this.#knowKind(this.#found.kind);
        this.#health.reached();
        this.#tell();
      } catch (thrown) {
        // One that is slow to say how it is may be well all the same: it has other things to do.
        if (this.#calls.size === 0 && !this.#isClosed)
          this.#health.unreachable(toGatewayError(thrown).message);
      }
    }
    this.#isLooking = false;
    if (this.#isClosed) return;
    this.#probeTimer = setTimeout(
      () => void this.#look(),
      Math.max(50, this.#health.retryAfterMs || probeIntervalMs),
    );
    this.#probeTimer.unref();
  }

  /** The user did not say what it is, and its list of models does. */
  #knowKind(found: VendorKind | undefined): void {
    const { kind, overrides } = this.#options;
    if (kind === 'generic' && found) this.#traits = traitsOf(found, overrides);
  }

  /** One line in the log where it is another state than the last one told; whoever waits is told, now and when a rest is over. */
  #onHealth(state: HealthState, reason: string | undefined): void {
    if (state !== 'trial' && state !== this.#logged) {
      this.#logged = state;
      const level = state === 'down' ? 'warn' : 'info';
      this.#options.log(level, `A back end is ${state}.`, { backend: this.id, reason });
    }
    this.#tell();
    if (state !== 'busy' && state !== 'down') return;
    this.#restTimer.start(
      () => this.#health.retryAfterMs,
      () => {
        this.#tell();
        if (state === 'down') void this.#look();
      },
    );
  }

  /** An answer told of its server's limits, perhaps: whoever waits looks again, now and when there is more. */
  #onBudget(): void {
    this.#budgetTimer.stop();
    if (!this.#budget.current) return;
    this.#tell();
    this.#budgetTimer.start(
      () => this.#budget.current?.resetMs ?? 0,
      () => this.#tell(),
    );
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
