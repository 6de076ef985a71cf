// The embedded engine as a back end: its calls, and what becomes of them when the engine's process does not.
// It must never import the binding, and never do work per token beyond handing an event on: the network's process
// must stay free.
import { statSync } from 'node:fs';
import process from 'node:process';
import type { Backend, BackendLoad, CallContext, ModelType } from '../../core/backend.ts';
import type { ChatRequest, EventSink, PartialAnswer, Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import { answerFormatOf } from './answer-format.ts';
import { BatchSize, MOST_AT_ONCE } from './batch-size.ts';
import { toldAs } from './chat-events.ts';
import { toEnginePrompt } from './conversation.ts';
import { defaultThreads, mostThreads } from './cpu-budget.ts';
import { EngineCalls } from './engine-calls.ts';
import { toEmbeddingTexts, toRerankTexts } from './engine-texts.ts';
import type { BegunAnswer, EngineSettings, EngineTexts, ModelPurpose, Step } from './messages.ts';
import { refuseUnsupported, toEngineSampling } from './sampling.ts';
import { makeStateFolder, type StateFolder } from './state-folder.ts';
import { Supervisor } from './supervisor.ts';
import { TokenCounter } from './token-counter.ts';
import { Utilization } from './utilization.ts';

export interface LlamaBackendOptions {
  readonly id: string;
  /** Path of a GGUF file. */
  readonly modelFile: string;
  /** The model's name, as answers give it. */
  readonly speaker: string;
  /** Calls at once; each has its own window. `auto`: what `batch-size.ts` finds, within memory. Default 8. */
  readonly batchSize?: number | 'auto' | undefined;
  /** Window of each call, in tokens. Default 4096; never more than the model was trained on. */
  readonly contextTokens?: number | undefined;
  /** Default: all usable cores but one, and on small machines that one too while nothing else runs there. */
  readonly threads?: number | undefined;
  /** Default: only Apple's, which its package always brings. */
  readonly gpu?: boolean | undefined;
  /** Resident memory above which the engine is restarted. Default: 2 GiB, or 4 times the file plus the windows. */
  readonly memoryLimitBytes?: number | undefined;
  /** The longest that running answers are to stand still while a new prompt is computed, in ms. Default 330. */
  readonly longestStepMs?: number | undefined;
  /** Bound on the computed prefixes that are kept for other prompts, in bytes; 0 keeps none. Default 256 MiB. */
  readonly prefixCacheBytes?: number | undefined;
  readonly log: Log;
  /** Told after each engine step. */
  readonly onStep?: ((step: StepFigures) => void) | undefined;
}

export interface StepFigures {
  readonly seconds: number;
  readonly decodedTokens: number;
  readonly prefillTokens: number;
}

/** Totals since the start, over all restarts. */
export interface Counters {
  readonly steps: number;
  readonly decodedTokens: number;
  readonly prefillTokens: number;
}

const GIBIBYTE = 2 ** 30;
const TYPES: Readonly<Record<ModelPurpose, ModelType>> = {
  chat: 'chat',
  embed: 'embedding',
  rerank: 'reranker',
};
/** Well under the 500 ms that count as a stutter. */
const LONGEST_STEP_MS = 330;
/**
 * Of that time, what a batch of running answers may take where its size is ours to find: the rest is for a slice of a
 * newcomer's prompt. Half of it is six tokens a second for each answer, which is about as fast as people read.
 */
const BATCH_SHARE = 0.5;
const BATCH_SIZE = 8;
/** What windows that nobody has asked for may take: so much, and of the memory that is there, so large a part. */
const MOST_WINDOW_BYTES = 2 * GIBIBYTE;
const MOST_WINDOW_SHARE = 0.25;
const PREFIX_CACHE_BYTES = 256 * 2 ** 20;
/** A cancelled call ends after the step under way; an engine that needs longer than this hangs. */
const STUCK_AFTER_MS = 5_000;
/** A text is computed in one go, however long it is. */
const STUCK_TEXT_AFTER_MS = 60_000;
// Built code has no .ts files beside it.
const CHILD_FILE = new URL(import.meta.url.endsWith('.ts') ? './child.ts' : './child.js', import.meta.url);

export class LlamaBackend implements Backend {
  readonly id: string;
  readonly continues = 'ids';
  readonly continuesForm = true;
  private readonly options: LlamaBackendOptions;
  /** Absent: the number of calls at once is given. */
  private batchSize: BatchSize | undefined;
  private readonly states: StateFolder;
  private readonly supervisor: Supervisor;
  private readonly calls: EngineCalls;
  private readonly counter: TokenCounter;
  private readonly listeners = new Set<() => void>();
  private readonly utilization = new Utilization();
  private totals = { steps: 0, decodedTokens: 0, prefillTokens: 0 };

  constructor(options: LlamaBackendOptions) {
    this.id = options.id;
    this.options = options;
    this.states = makeStateFolder(options.prefixCacheBytes ?? PREFIX_CACHE_BYTES);
    this.supervisor = new Supervisor({
      childFile: CHILD_FILE,
      settings: settingsOf(options, this.states),
      memoryLimitBytes: (contextBytes) =>
        options.memoryLimitBytes ??
        Math.max(
          2 * GIBIBYTE,
          4 * (statSync(options.modelFile, { throwIfNoEntry: false })?.size ?? 0) + contextBytes,
        ),
      log: (level, message, fields) => options.log(level, message, { ...fields, backend: options.id }),
      onStep: (step) => this.onStep(step),
      onDown: (reason) => this.calls.lose(reason),
      onChange: () => this.onChange(),
    });
    this.calls = new EngineCalls({
      send: (message) => this.supervisor.send(message),
      kill: (reason) => this.supervisor.kill(reason),
    });
    this.counter = new TokenCounter(this.calls);
  }

  /** Resolves when the model is loaded; rejects with one sentence when it cannot be. */
  start(): Promise<void> {
    return this.supervisor.start();
  }

  get continuesThought(): boolean {
    return this.supervisor.thinks;
  }

  /** The engine's process, for tests that kill it. */
  get childPid(): number | undefined {
    return this.supervisor.pid;
  }

  /** Where its computed prefixes lie, for tests that disturb them. */
  get stateFolder(): string {
    return this.states.path;
  }

  counters(): Counters {
    return { ...this.totals };
  }

  load(): BackendLoad {
    const { state, reason } = this.supervisor;
    if (state === 'ready') {
      return { state, slots: this.slots(), utilization: this.utilization.share(performance.now()) };
    }
    return { state: state === 'restarting' ? 'loading' : state, reason, slots: 0 };
  }

  onLoadChange(listener: () => void): () => void {
    // Its own function, so that one listener added twice is called twice and removed once.
    const entry = (): void => listener();
    this.listeners.add(entry);
    return () => void this.listeners.delete(entry);
  }

  async chat(request: ChatRequest, context: CallContext, sink: EventSink): Promise<void> {
    const { signal, tenant } = context;
    signal.throwIfAborted();
    this.refuseWhenNotReady();
    this.refuseOtherPurpose();
    refuseUnsupported(request);
    const prompt = toEnginePrompt(request, this.supervisor.contextTokens);
    const format = answerFormatOf(request);
    this.refuseWhenFull();
    const { maxTokens, stop, sampling } = request;
    const engineSampling = { ...toEngineSampling(sampling), logprobs: request.logprobs };
    await this.calls.run({
      message: (call) => ({
        type: 'chat',
        call,
        tenant,
        prompt,
        sampling: engineSampling,
        maxTokens,
        stop,
        format,
        begun: begunOf(request.continueFrom),
        among: this.slots(),
      }),
      signal,
      onEvent: toldAs(request, this.options.speaker, context, sink),
      stuckAfterMs: STUCK_AFTER_MS,
    });
  }

  /** Undefined until its model was loaded once. */
  get isFor(): ModelType | undefined {
    const { state, purpose } = this.supervisor;
    return state === 'ready' || state === 'restarting' ? TYPES[purpose] : undefined;
  }

  get embed(): Backend['embed'] {
    if (this.supervisor.purpose !== 'embed') return undefined;
    return async (request, context) => {
      const { contextTokens } = this.supervisor;
      const { vectors, usage } = await this.compute(context, () => toEmbeddingTexts(request, contextTokens));
      return { speaker: this.options.speaker, vectors, usage };
    };
  }

  get rerank(): Backend['rerank'] {
    if (this.supervisor.purpose !== 'rerank') return undefined;
    return async (request, context) => {
      const { contextTokens } = this.supervisor;
      const { vectors, usage } = await this.compute(context, () => toRerankTexts(request, contextTokens));
      return { speaker: this.options.speaker, scores: vectors.map(([score]) => score!), usage };
    };
  }

  async countTokens(request: ChatRequest, { signal }: CallContext): Promise<number | undefined> {
    signal.throwIfAborted();
    const { state, purpose, contextTokens } = this.supervisor;
    if (state !== 'ready' || purpose !== 'chat') return undefined;
    try {
      return await this.counter.count(toEnginePrompt(request, contextTokens), signal);
    } catch (error) {
      // Counting it would only block the engine.
      if (error instanceof GatewayError && error.code === 'context_length_exceeded') return undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.supervisor.close();
    this.states.remove();
  }

  private refuseWhenNotReady(): void {
    const { state, reason } = this.supervisor;
    if (state === 'ready') return;
    const gone = state === 'failed' || state === 'closed';
    throw new GatewayError(gone ? 'backend_failed' : 'not_ready', `The model cannot answer now: ${reason}.`);
  }

  private refuseOtherPurpose(): void {
    const { purpose } = this.supervisor;
    if (purpose === 'chat') return;
    const does =
      purpose === 'embed' ? 'makes vectors of texts (/v1/embeddings)' : 'judges documents (/v1/rerank)';
    throw new GatewayError('invalid_request', `This model ${does}; it cannot write an answer.`, {
      param: 'model',
    });
  }

  private refuseWhenFull(): void {
    // Not `slots()`: who was given a place before there were fewer has it.
    const { sequences } = this.supervisor;
    if (this.calls.places < sequences) return;
    throw new GatewayError('backend_busy', `The engine runs ${sequences} calls at once, and all are taken.`);
  }

  /** Vectors or judgements, in the order of their texts. */
  private async compute(
    { signal }: CallContext,
    texts: () => Omit<EngineTexts, 'call'>,
  ): Promise<{ vectors: Float32Array[]; usage: Usage }> {
    signal.throwIfAborted();
    this.refuseWhenNotReady();
    const checked = texts();
    this.refuseWhenFull();
    const vectors: Float32Array[] = [];
    const usage = await this.calls.run({
      message: (call) => ({ type: 'texts', call, ...checked }),
      signal,
      onEvent: (event) => {
        if (event.type === 'vector') vectors.push(event.vector);
      },
      stuckAfterMs: STUCK_TEXT_AFTER_MS,
    });
    return { vectors, usage };
  }

  private slots(): number {
    return this.batchSize?.value ?? this.supervisor.sequences;
  }

  private onChange(): void {
    const { state, sequences, purpose } = this.supervisor;
    const isFound = this.options.batchSize === 'auto' && purpose === 'chat';
    if (isFound && this.batchSize === undefined && state === 'ready') {
      this.batchSize = new BatchSize({
        most: sequences,
        longestSeconds: BATCH_SHARE * busySecondsOf(this.options),
      });
    }
    for (const listener of this.listeners) listener();
  }

  private onBatch({ answers, seconds }: NonNullable<Step['batch']>): void {
    const before = this.slots();
    const isFull = this.calls.places >= before;
    this.batchSize?.stepped({ atMs: performance.now(), answers, seconds, isFull });
    const now = this.slots();
    if (now === before) return;
    this.options.log('debug', `the engine computes ${now} answers at once`, { backend: this.id });
    this.onChange();
  }

  private onStep(step: Step): void {
    const { seconds, decodedTokens, prefillTokens } = step;
    // Before its events: who ends with it has been in it.
    if (step.batch) this.onBatch(step.batch);
    if (decodedTokens + prefillTokens > 0) {
      this.totals.steps++;
      this.totals.decodedTokens += decodedTokens;
      this.totals.prefillTokens += prefillTokens;
      this.utilization.add(performance.now(), seconds);
      this.options.onStep?.({ seconds, decodedTokens, prefillTokens });
    }
    for (const event of step.events) this.calls.take(event);
  }
}

function begunOf(answer: PartialAnswer | undefined): BegunAnswer | undefined {
  const choice = answer?.choices[0];
  if (choice === undefined) return undefined;
  const { tokens, text, reasoning, pieces = 0 } = choice;
  if (tokens) return { kind: 'ids', tokens };
  return { kind: 'words', text: text.toWellFormed(), reasoning: reasoning.toWellFormed(), pieces };
}

function busySecondsOf({ longestStepMs }: LlamaBackendOptions): number {
  return (longestStepMs ?? LONGEST_STEP_MS) / 1000;
}

function settingsOf(options: LlamaBackendOptions, states: StateFolder): EngineSettings {
  const { batchSize = BATCH_SIZE } = options;
  return {
    modelFile: options.modelFile,
    sequences: batchSize === 'auto' ? MOST_AT_ONCE : batchSize,
    windowBytes:
      batchSize === 'auto'
        ? Math.min(MOST_WINDOW_BYTES, MOST_WINDOW_SHARE * process.availableMemory())
        : undefined,
    contextTokens: options.contextTokens ?? 4096,
    threads: options.threads ?? defaultThreads(),
    mostThreads: options.threads ?? mostThreads(),
    gpu: (options.gpu ?? process.platform === 'darwin') ? 'auto' : false,
    busySeconds: busySecondsOf(options),
    stateFolder: states.path,
    stateBytes: states.maxBytes,
  };
}
