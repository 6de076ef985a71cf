// A back end without a model: it speaks a script, at a pace, with the faults it is told to have. It is for tests,
// benchmarks and demos, and says so wherever it is named. Like a real engine it works in steps: one timer gives every
// running call its next piece. It can keep to a measured engine's times instead of a pace of its own.
import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend, BackendLoad, CallContext } from '../core/backend.ts';
import { type ChatRequest, type EventSink, type PartialAnswer, promptUnits } from '../core/chat.ts';
import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from '../core/embedding.ts';
import { GatewayError } from '../core/errors.ts';
import type { StepCurve } from '../core/step-curve.ts';
import { CurvePace } from './curve-pace.ts';

export interface FakeOptions {
  readonly id: string;
  readonly slots: number;
  /** What every answer says, piece by piece. */
  readonly pieces: readonly string[];
  /** Pieces of thinking before the answer. */
  readonly reasoning?: readonly string[] | undefined;
  /** From the start of a call to its first piece, in ms. */
  readonly firstPieceMs: number;
  /** From one step to the next, in ms. */
  readonly stepMs: number;
  /** Pieces that a call gets in one step. Default 1. */
  readonly burst?: number | undefined;
  /** The times of a measured engine, instead of these two: each piece is a token, and no prompt is cached. */
  readonly curve?: StepCurve | undefined;
  /** Breaks every call after this many pieces. */
  readonly failAfterPieces?: number | undefined;
  /** Goes silent for good after this many pieces. */
  readonly stallAfterPieces?: number | undefined;
  /** It goes on with the beginning of its script, from any character. Default true. */
  readonly continues?: boolean | undefined;
}

interface Piece {
  readonly type: 'reasoning-delta' | 'text-delta';
  readonly text: string;
}

interface Call {
  readonly request: ChatRequest;
  readonly sink: EventSink;
  readonly startAt: number;
  readonly promptTokens: number;
  /** Pieces that it will give, if nothing is amiss; at least 1. */
  readonly outputTokens: number;
  /** What it says of the script. */
  readonly script: readonly Piece[];
  /** Pieces that its client has of the answer. */
  readonly given: number;
  position: number;
  settle(error?: GatewayError): void;
}

/** UTF-16 units a token, as English has it. */
const UNITS_PER_TOKEN = 4;

export class FakeBackend implements Backend {
  readonly id: string;
  readonly continues: 'text' | undefined;
  readonly continuesForm = true;
  readonly continuesThought = true;
  /** Pieces given out since the start: what cancel tests look at. */
  piecesMade = 0;
  readonly #options: FakeOptions;
  readonly #script: readonly Piece[];
  readonly #calls = new Set<Call>();
  readonly #listeners = new Set<() => void>();
  readonly #curvePace: CurvePace<Call> | undefined;
  #state: BackendLoad['state'] = 'ready';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FakeOptions) {
    this.id = options.id;
    this.continues = options.continues === false ? undefined : 'text';
    this.#options = options;
    this.#script = [
      ...piecesOf('reasoning-delta', options.reasoning),
      ...piecesOf('text-delta', options.pieces),
    ];
    this.#curvePace =
      options.curve &&
      new CurvePace(options.curve, (call, isLast) => {
        this.#give(call);
        // The end is no step of its own.
        if (isLast) this.#give(call);
      });
  }

  chat(request: ChatRequest, { signal }: CallContext, sink: EventSink): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#state !== 'ready') {
      return Promise.reject(new GatewayError('backend_failed', 'The fake back end is not running.'));
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => call.settle(signal.reason);
      const script = restOf(this.#scriptFor(request), request.continueFrom);
      const given = request.continueFrom?.choices[0]?.pieces ?? 0;
      const call: Call = {
        request,
        sink,
        startAt: performance.now() + this.#options.firstPieceMs,
        promptTokens: this.#promptTokens(request, script),
        outputTokens: Math.max(1, Math.min(script.length, (request.maxTokens ?? Infinity) - given)),
        script,
        given,
        position: 0,
        settle: (error) => {
          this.#calls.delete(call);
          this.#curvePace?.remove(call);
          signal.removeEventListener('abort', onAbort);
          if (this.#calls.size === 0) this.#stop();
          if (error) reject(error);
          else resolve();
        },
      };
      signal.addEventListener('abort', onAbort);
      this.#calls.add(call);
      if (this.#curvePace) this.#curvePace.add(call);
      else this.#timer ??= setInterval(() => this.#step(), this.#options.stepMs);
    });
  }

  /** Vectors of unit length that only their texts decide; the same text has the same. */
  async embed(
    { inputs, dimensions = 8 }: EmbeddingRequest,
    { signal }: CallContext,
  ): Promise<EmbeddingAnswer> {
    await this.#firstPiece(signal);
    const vectors = inputs.map((input) => scriptedVector(JSON.stringify(input), dimensions));
    return { speaker: this.id, vectors, usage: { promptTokens: inputs.length } };
  }

  /** A document is worth what it has in common with the query, word by word. */
  async rerank({ query, documents }: RerankRequest, { signal }: CallContext): Promise<RerankAnswer> {
    await this.#firstPiece(signal);
    const wanted = new Set(query.split(/\s+/));
    const scores = documents.map((text) => {
      const words = text.split(/\s+/);
      return words.filter((word) => wanted.has(word)).length / words.length;
    });
    return { speaker: this.id, scores, usage: { promptTokens: documents.length } };
  }

  /** As long as the first piece of an answer takes. */
  async #firstPiece(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#state !== 'ready') {
      throw new GatewayError('backend_failed', 'The fake back end is not running.');
    }
    await sleep(this.#options.firstPieceMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    if (this.#options.failAfterPieces === 0) {
      throw new GatewayError('backend_failed', 'The fake back end broke, as it was told to.');
    }
  }

  load(): BackendLoad {
    const isReady = this.#state === 'ready';
    return {
      state: this.#state,
      reason: isReady ? undefined : 'The fake back end was told to be away.',
      slots: isReady ? this.#options.slots : 0,
    };
  }

  onLoadChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Dies as a real engine does: its calls break, and it is away until `revive`. */
  kill(): void {
    this.#die('loading');
  }

  revive(): void {
    this.#change('ready');
  }

  async close(): Promise<void> {
    this.#die('closed');
  }

  #die(state: 'loading' | 'closed'): void {
    this.#change(state);
    for (const call of this.#calls)
      call.settle(new GatewayError('backend_failed', 'The fake back end died.'));
  }

  #change(state: BackendLoad['state']): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }

  /** Where a gap is to be filled its text begins with a word on what is behind the gap. */
  #scriptFor({ prompt }: ChatRequest): readonly Piece[] {
    if (prompt.kind !== 'text' || prompt.suffix === undefined) return this.#script;
    const thoughts = this.#script.filter(({ type }) => type === 'reasoning-delta').length;
    const text = `(Before ${JSON.stringify(prompt.suffix)}:) `;
    return this.#script.toSpliced(thoughts, 0, { type: 'text-delta', text });
  }

  /** With what there is of the answer. */
  #promptTokens(request: ChatRequest, script: readonly Piece[]): number {
    const { prompt } = request;
    const said = this.#scriptFor(request).length - script.length;
    if (this.#curvePace === undefined) return 1 + said;
    return said + Math.max(1, Math.ceil(promptUnits(prompt) / UNITS_PER_TOKEN));
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#curvePace?.stop();
  }

  #step(): void {
    const { burst = 1 } = this.#options;
    const now = performance.now();
    for (const call of this.#calls) {
      if (now < call.startAt) continue;
      for (let piece = 0; piece < burst; piece += 1) this.#give(call);
    }
  }

  /** The next piece of a call that has not ended, or its end. What its reader throws ends it. */
  #give(call: Call): void {
    if (!this.#calls.has(call)) return;
    try {
      this.#advance(call);
    } catch (thrown) {
      call.settle(thrown as GatewayError);
    }
  }

  #advance(call: Call): void {
    const { failAfterPieces, stallAfterPieces } = this.#options;
    const { position, request, script, given, sink } = call;
    if (position === failAfterPieces) {
      call.settle(new GatewayError('backend_failed', 'The fake back end broke, as it was told to.'));
      return;
    }
    if (position === stallAfterPieces) return;
    if (position === 0) sink({ type: 'start', speaker: this.id });
    const piece = script[position];
    const isCut = request.maxTokens !== undefined && given + position >= request.maxTokens;
    if (piece && !isCut) {
      call.position += 1;
      this.piecesMade += 1;
      sink({ type: piece.type, choice: 0, text: piece.text });
      return;
    }
    sink({ type: 'choice-end', choice: 0, reason: isCut ? 'length' : 'stop' });
    sink({ type: 'finish', usage: { promptTokens: call.promptTokens, completionTokens: position } });
    call.settle();
  }
}

function piecesOf(type: Piece['type'], texts: readonly string[] = []): Piece[] {
  return texts.map((text) => ({ type, text }));
}

/** The script behind what there is of it; all of it where that is no beginning of it. */
function restOf(script: readonly Piece[], begun: PartialAnswer | undefined): readonly Piece[] {
  const { text = '', reasoning = '' } = begun?.choices[0] ?? {};
  const type = text === '' ? 'reasoning-delta' : 'text-delta';
  const first = script.findIndex((piece) => piece.type === type);
  const said = text === '' ? reasoning : text;
  const whole = script.filter((piece) => piece.type === type).map((piece) => piece.text);
  if (said === '' || !whole.join('').startsWith(said)) return script;
  let left = said.length;
  let at = first;
  while (at < script.length && left >= script[at]!.text.length) {
    left -= script[at]!.text.length;
    at += 1;
  }
  const [cut, ...rest] = script.slice(at);
  return cut === undefined || left === 0
    ? script.slice(at)
    : [{ ...cut, text: cut.text.slice(left) }, ...rest];
}

/** Of a SHA-256, numbers of 32 bits. */
const NUMBERS_A_DIGEST = 8;

function scriptedVector(text: string, dimensions: number): Float32Array {
  let digest: Buffer = Buffer.alloc(0);
  const vector = Float32Array.from({ length: dimensions }, (_, index) => {
    const place = (index % NUMBERS_A_DIGEST) * 4;
    if (place === 0) digest = hash('sha256', `${index} ${text}`, 'buffer');
    return digest.readInt32LE(place) / 2 ** 31;
  });
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
