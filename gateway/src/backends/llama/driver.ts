// Continuous batching in lock-step: a tick is one slice of one waiting prompt, then the next token of every running
// call in one batch, then one message; a prompt's last slice gives its first token, which has a message before. So a long
// prompt never holds the streams that run, and a cancel waits for at most the engine step that is under way.
// It must never import the binding: sequences are passed in, so that tests need no model.
import type { FinishReason } from '../../core/chat.ts';
import type { Constraint, EngineSequence } from './engine-sequence.ts';
import type { CallEvent, EngineError, EngineSampling, SampledToken, Step } from './messages.ts';
import type { PrefixStore } from './prefix-store.ts';
import { gainsFromKept, nextPrompt, type QueuedPrompt, remaining } from './prompt-queue.ts';
import { SequencePool } from './sequences.ts';
import { SlicePacer } from './slice-pacer.ts';
import type { AnswerPart, AnswerText } from './text.ts';

export interface DriverCall {
  readonly call: number;
  readonly tenant: string;
  /** The prompt, and after it `continued`. */
  readonly tokens: readonly number[];
  /** What there was of this answer already; `answer` knows of it. */
  readonly continued: readonly number[];
  /** `continued` counts as prompt. Absent: as the answer's, and towards `maxTokens`. */
  readonly continuedIsPrompt?: boolean | undefined;
  readonly sampling: EngineSampling;
  /** More than is counted of `continued`, and no more than the window leaves. */
  readonly maxTokens: number;
  readonly answer: AnswerText;
  /** What the sampler may choose from; it has seen `continued`. */
  readonly constraint?: Constraint | undefined;
  /** It takes one of the first so many sequences while one of them is free; absent: all are alike. */
  readonly among?: number | undefined;
}

export interface DriverOptions {
  readonly sequences: readonly EngineSequence[];
  readonly prefixes: PrefixStore;
  /** The longest that running answers are to stand still while a new prompt is computed. */
  readonly busySeconds: number;
  readonly isEndToken: (token: number) => boolean;
  readonly post: (step: Step) => void;
  /** Called before the engine computes so many tokens at once, and the function that it gives with what that took. */
  readonly onCompute?: ((tokens: number) => (seconds: number) => void) | undefined;
  /** The engine failed several steps in a row: only a new process can help. */
  readonly giveUp: (reason: string) => void;
}

const MOST_FAILED_STEPS = 3;
const NOTHING: Computed = { fed: 0, decoded: 0 };

/** Prompt tokens evaluated, and tokens that came out. */
interface Computed {
  readonly fed: number;
  readonly decoded: number;
}

interface Place extends QueuedPrompt {
  readonly request: DriverCall;
  readonly sequence: EngineSequence;
  cachedTokens: number;
  iterator: AsyncIterator<SampledToken> | undefined;
  completionTokens: number;
  /** Tokens of which no text was shown yet. */
  readonly unsent: number[];
}

const CANCELLED: EngineError = { code: 'cancelled', message: 'The call was cancelled.' };

export class Driver {
  private readonly options: DriverOptions;
  private readonly pool: SequencePool<EngineSequence>;
  /** Came, but has no sequence yet. */
  private arrived: DriverCall[] = [];
  private readonly pacer: SlicePacer;
  private readonly waiting = new Set<Place>();
  private readonly running = new Set<Place>();
  private readonly cancelled = new Set<number>();
  private readonly small: (() => void)[] = [];
  private events: CallEvent[] = [];
  private wake: (() => void) | undefined;
  private closed = false;
  private failedSteps = 0;

  constructor(options: DriverOptions) {
    this.options = options;
    this.pool = new SequencePool(options.sequences);
    this.pacer = new SlicePacer(options.busySeconds);
  }

  add(request: DriverCall): void {
    this.arrived.push(request);
    this.wake?.();
  }

  /** Its `failed` event follows as soon as its sequence is free; a call that ended meanwhile is left as it is. */
  cancel(call: number): void {
    this.cancelled.add(call);
    this.wake?.();
  }

  /** Does something small that computes nothing: one such a tick, so that no step waits for many. */
  doBetween(work: () => void): void {
    this.small.push(work);
    this.wake?.();
  }

  close(): void {
    this.closed = true;
    this.wake?.();
  }

  /** Runs until `close`. Only a bug makes it reject. */
  async run(): Promise<void> {
    while (!this.closed) {
      await this.tick();
      const calls = this.arrived.length + this.waiting.size + this.running.size + this.cancelled.size;
      if (calls + this.small.length > 0) continue;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
  }

  private async tick(): Promise<void> {
    this.small.shift()?.();
    const startedAt = performance.now();
    await this.dropCancelled();
    await this.place();
    const { fed, decoded } = await this.prefill();
    // A first token need not wait for the others' batch.
    const since = decoded > 0 ? this.send(startedAt, fed, decoded) : startedAt;
    await this.dropCancelled();
    const batch = await this.decode();
    this.send(since, decoded > 0 ? 0 : fed, batch?.answers ?? 0, batch);
  }

  /** One message: what happened, and what of the engine's time it took since `since`. Gives the time that it is now. */
  private send(since: number, prefillTokens: number, decodedTokens: number, batch?: Step['batch']): number {
    const now = performance.now();
    const seconds = prefillTokens + decodedTokens > 0 ? (now - since) / 1000 : 0;
    if (seconds === 0 && this.events.length === 0) return now;
    const events = this.events.splice(0);
    this.options.post({ seconds, ...(batch && { batch }), decodedTokens, prefillTokens, events });
    return now;
  }

  /** Gives arrived calls their sequences. */
  private async place(): Promise<void> {
    const left: DriverCall[] = [];
    const { arrived } = this;
    if (arrived.length === 0) return;
    this.arrived = [];
    for (const request of arrived) {
      const { tenant, tokens, among } = request;
      const kept = this.options.prefixes.covered(tenant, tokens);
      const placement = this.pool.acquire(tenant, tokens, kept, among);
      if (placement === undefined) {
        left.push(request);
        continue;
      }
      const { sequence, reusedTokens } = placement;
      try {
        await sequence.truncate(reusedTokens);
      } catch (error) {
        this.pool.release(sequence);
        this.fail(request.call, broken(error));
        continue;
      }
      this.options.prefixes.remember(tenant, tokens);
      this.waiting.add({
        tenant,
        tokens,
        request,
        sequence,
        cachedTokens: reusedTokens,
        fed: reusedTokens,
        covered: 0,
        keepAt: undefined,
        waitedTicks: 0,
        iterator: undefined,
        completionTokens: countedOf(request),
        unsent: [],
      });
    }
    this.arrived.unshift(...left);
    this.planPrefixes();
  }

  /** What each waiting prompt has in common with others: looked at again when a prompt came or a prefix was kept. */
  private planPrefixes(): void {
    const { prefixes } = this.options;
    for (const place of this.waiting) {
      place.covered = prefixes.covered(place.tenant, place.tokens);
      const keepAt = prefixes.worthKeeping(place.tenant, place.tokens);
      place.keepAt = keepAt !== undefined && keepAt > place.fed ? keepAt : undefined;
    }
  }

  /** Feeds one slice of one prompt, its first token with the last; what has only one token left joins the next batch. */
  private async prefill(): Promise<Computed> {
    let computed = NOTHING;
    const place = nextPrompt(this.waiting);
    if (place !== undefined) {
      if (gainsFromKept(place)) await this.restore(place);
      if (this.waiting.has(place) && remaining(place) > 1) computed = await this.prefillSlice(place);
    }
    let joined = 0;
    for (const other of this.waiting) {
      other.waitedTicks++;
      if (remaining(other) === 1) joined += this.join(other);
    }
    return { fed: computed.fed + joined, decoded: computed.decoded };
  }

  private async prefillSlice(place: Place): Promise<Computed> {
    const { keepAt } = place;
    const rest = (keepAt ?? place.tokens.length) - place.fed;
    const count = this.pacer.next(this.running.size > 0, rest);
    if (count === rest && keepAt === undefined) {
      this.join(place);
      const { result, seconds } = await this.timed(count, () => this.sample([place]));
      this.pacer.prefilled(count, seconds);
      return { fed: count, decoded: result };
    }
    try {
      const slice = place.tokens.slice(place.fed, place.fed + count);
      const { seconds } = await this.timed(count, () => place.sequence.feed(slice));
      this.pacer.prefilled(count, seconds);
    } catch (error) {
      await this.stepFailed([place], error);
      return NOTHING;
    }
    place.fed += count;
    if (place.fed === keepAt) {
      await this.options.prefixes.keep(place.tenant, place.sequence);
      this.planPrefixes();
    }
    return { fed: count, decoded: 0 };
  }

  private async restore(place: Place): Promise<void> {
    try {
      place.fed = await this.options.prefixes.restore(place.tenant, place.tokens, place.sequence);
      place.cachedTokens = place.fed;
    } catch (error) {
      await this.stepFailed([place], error);
    }
    this.planPrefixes();
  }

  /** The prompt's rest goes into the next batch, and its first token comes out. */
  private join(place: Place): number {
    const { request, sequence, tokens } = place;
    const rest = tokens.slice(place.fed);
    place.fed = tokens.length;
    place.iterator = sequence.generate(rest, request.sampling, request.continued, request.constraint);
    this.waiting.delete(place);
    this.running.add(place);
    return rest.length;
  }

  /** The next token of every running call, in one batch. Undefined: none runs. */
  private async decode(): Promise<Step['batch']> {
    if (this.running.size === 0) return undefined;
    const { result, seconds } = await this.timed(this.running.size, () => this.sample([...this.running]));
    this.pacer.decoded(seconds);
    return { answers: result, seconds };
  }

  /** One computation of so many tokens, and what it took. */
  private async timed<Result>(tokens: number, compute: () => Promise<Result>) {
    const onComputed = this.options.onCompute?.(tokens);
    const startedAt = performance.now();
    const result = await compute();
    const seconds = (performance.now() - startedAt) / 1000;
    onComputed?.(seconds);
    return { result, seconds };
  }

  /** One batch: what each of them still has to evaluate, and then a token of each. Gives the tokens' number. */
  private async sample(places: readonly Place[]): Promise<number> {
    const results = await Promise.allSettled(places.map((place) => place.iterator?.next()));
    const failed: Place[] = [];
    let firstError: unknown;
    let decoded = 0;
    for (const [index, place] of places.entries()) {
      const result = results[index];
      if (result?.status === 'fulfilled' && result.value !== undefined && result.value.done !== true) {
        decoded++;
        await this.take(place, result.value.value);
        continue;
      }
      failed.push(place);
      firstError ??= result?.status === 'rejected' ? result.reason : new Error('the engine gave no token');
    }
    if (failed.length > 0) await this.stepFailed(failed, firstError);
    else this.failedSteps = 0;
    return decoded;
  }

  private async take(place: Place, { token, likely }: SampledToken): Promise<void> {
    const { request } = place;
    place.completionTokens++;
    if (this.cancelled.has(request.call)) return;
    if (this.options.isEndToken(token)) return this.end(place, 'stop');
    place.unsent.push(token);
    const part = request.answer.push(token, likely);
    this.emit(place, part);
    if (part.stopped) return this.end(place, 'stop', part);
    if (place.completionTokens >= request.maxTokens) return this.end(place, 'length');
  }

  /** `stopping`: the part that ended the answer, where it did not end by itself. */
  private async end(place: Place, reason: FinishReason, stopping?: AnswerPart): Promise<void> {
    const { request } = place;
    const last = stopping ?? request.answer.flush();
    if (!stopping) this.emit(place, last);
    await this.free(place);
    const promptTokens = place.tokens.length - countedOf(request);
    this.events.push({
      type: 'end',
      call: request.call,
      reason: last.stopped ? 'stop' : reason,
      ...(last.stop !== undefined && { stop: last.stop }),
      usage: {
        promptTokens,
        cachedTokens: Math.min(place.cachedTokens, promptTokens),
        completionTokens: place.completionTokens,
        reasoningTokens: request.answer.reasoningTokens,
      },
    });
  }

  private emit({ request: { call }, unsent }: Place, { pieces, logprobs }: AnswerPart): void {
    for (const [index, { kind, ...piece }] of pieces.entries()) {
      const tokens = index === pieces.length - 1 ? unsent.splice(0) : [];
      const told = kind === 'text' && logprobs ? { logprobs } : {};
      this.events.push({ type: kind, call, ...piece, tokens, ...told } as CallEvent);
    }
  }

  private async dropCancelled(): Promise<void> {
    if (this.cancelled.size === 0) return;
    // Taken at once: what is cancelled during the awaits below waits for the next look.
    const cancelled = new Set(this.cancelled);
    this.cancelled.clear();
    for (const place of [...this.waiting, ...this.running]) {
      if (!cancelled.has(place.request.call)) continue;
      await this.free(place);
      this.fail(place.request.call, CANCELLED);
    }
    this.arrived = this.arrived.filter((request) => {
      if (!cancelled.has(request.call)) return true;
      this.fail(request.call, CANCELLED);
      return false;
    });
  }

  private async free(place: Place): Promise<void> {
    this.waiting.delete(place);
    this.running.delete(place);
    try {
      await place.iterator?.return?.();
    } catch {
      // It already failed, and that was reported.
    }
    this.pool.release(place.sequence);
  }

  private fail(call: number, error: EngineError): void {
    this.events.push({ type: 'failed', call, error });
  }

  /** The state of a sequence whose step failed is unknown: it starts anew. */
  private async stepFailed(places: readonly Place[], error: unknown): Promise<void> {
    for (const place of places) {
      try {
        await place.iterator?.return?.();
        place.iterator = undefined;
        await place.sequence.truncate(0);
      } catch {
        // Counted below; a sequence that cannot even be cleared will fail again.
      }
      await this.free(place);
      this.fail(place.request.call, broken(error));
    }
    if (++this.failedSteps >= MOST_FAILED_STEPS) this.options.giveUp(broken(error).message);
  }
}

/** How many tokens the answer had when it came. */
function countedOf({ continued, continuedIsPrompt = false }: DriverCall): number {
  return continuedIsPrompt ? 0 : continued.length;
}

function broken(error: unknown): EngineError {
  const reason = error instanceof Error ? error.message : String(error);
  return { code: 'backend_failed', message: `The engine failed to compute a step: ${reason}` };
}
