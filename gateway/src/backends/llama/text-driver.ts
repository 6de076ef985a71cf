// Vectors and judgements in lock-step: a turn is one text of one call, then one message, then the next call's turn. So a
// call with one text does not wait for another's thousands, and a cancel waits for at most the text that is under way.
// What is wrong with a call is found before anything of it is computed. It must never import the binding: texts are read
// and computed by what is passed in, so that tests need no model.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { GatewayError } from '../../core/errors.ts';
import { placeOfText, refuseLongText } from './engine-texts.ts';
import type { CallEvent, EngineError, EngineText, EngineTexts, Step } from './messages.ts';

/** An input as the model reads it. */
export interface ReadText {
  /** With the marks that the model puts around it, and with the query; 0: there is nothing in it. */
  readonly tokens: number;
  /** As the model gives it. */
  compute(): Promise<Float32Array>;
}

export interface TextReader {
  /** The most tokens of a text. */
  readonly contextTokens: number;
  /** Tokens are numbered from 0 to below this. */
  readonly vocabularySize: number;
  /** Numbers in a vector; 1 of a judgement. */
  readonly vectorLength: number;
  /** Computes nothing yet. */
  read(input: EngineText, query: string | undefined): ReadText;
}

export interface TextDriverOptions {
  readonly reader: TextReader;
  readonly post: (step: Step) => void;
  /** Called before the engine computes so many tokens at once, and the function that it gives with what that took. */
  readonly onCompute?: ((tokens: number) => (seconds: number) => void) | undefined;
  /** The engine failed several texts in a row: only a new process can help. */
  readonly giveUp: (reason: string) => void;
}

/** A call on its way. */
interface Work {
  readonly request: EngineTexts;
  /** Inputs that were found to be good; all of them are looked at before the first is computed. */
  checked: number;
  /** Inputs that were computed. */
  computed: number;
  tokens: number;
}

const MOST_FAILED_TEXTS = 3;
/** What is tokenized in one turn, in UTF-16 units: some milliseconds. */
const CHECKED_UNITS = 32 * 1024;
const CANCELLED: EngineError = { code: 'cancelled', message: 'The call was cancelled.' };

export class TextDriver {
  private readonly options: TextDriverOptions;
  /** Whose turn it is comes first. */
  private readonly queue: Work[] = [];
  private readonly cancelled = new Set<number>();
  private wake: (() => void) | undefined;
  private closed = false;
  private failedTexts = 0;

  constructor(options: TextDriverOptions) {
    this.options = options;
  }

  add(request: EngineTexts): void {
    this.queue.push({ request, checked: 0, computed: 0, tokens: 0 });
    this.wake?.();
  }

  /** Its `failed` event follows with its next turn; a call that ended meanwhile is left as it is. */
  cancel(call: number): void {
    if (this.queue.some(({ request }) => request.call === call)) this.cancelled.add(call);
  }

  close(): void {
    this.closed = true;
    this.wake?.();
  }

  /** Runs until `close`. Only a bug makes it reject. */
  async run(): Promise<void> {
    while (!this.closed) {
      this.dropCancelled();
      const [work] = this.queue;
      if (work !== undefined) {
        await this.turn(work);
        // Messages come in between.
        await nextTurn();
        continue;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
  }

  private dropCancelled(): void {
    for (const call of this.cancelled) this.fail(call, CANCELLED);
    this.cancelled.clear();
  }

  /** The call goes to the end of the queue, or is over. */
  private async turn(work: Work): Promise<void> {
    const { call, inputs } = work.request;
    try {
      if (work.checked < inputs.length) this.check(work);
      else await this.compute(work);
    } catch (error) {
      const { code, message, param } = error instanceof GatewayError ? error : broken(error);
      this.fail(call, { code, message, param });
      return;
    }
    this.queue.shift();
    if (work.computed < inputs.length) this.queue.push(work);
  }

  /** Some of the inputs that were not looked at yet. Throws `invalid_request` or `context_length_exceeded`, with the place. */
  private check(work: Work): void {
    const { reader } = this.options;
    const { inputs, query, dimensions } = work.request;
    if (work.checked === 0) refuseOtherLength(dimensions, reader.vectorLength);
    for (let units = 0; work.checked < inputs.length && units < CHECKED_UNITS; work.checked++) {
      const input = inputs[work.checked]!;
      const place = placeOfText(work.request, work.checked);
      refuseOtherTokens(input, reader.vocabularySize, place);
      const { tokens } = reader.read(input, query);
      if (tokens === 0) {
        throw new GatewayError('invalid_request', `${place} is empty: there is nothing to compute.`, {
          param: place,
        });
      }
      refuseLongText(tokens, reader.contextTokens, place);
      units += input.length + (query?.length ?? 0);
    }
  }

  private async compute(work: Work): Promise<void> {
    const { call, inputs, query } = work.request;
    const text = this.options.reader.read(inputs[work.computed]!, query);
    const onComputed = this.options.onCompute?.(text.tokens);
    const startedAt = performance.now();
    const vector = await this.computed(text, query === undefined);
    const seconds = (performance.now() - startedAt) / 1000;
    onComputed?.(seconds);
    work.computed++;
    work.tokens += text.tokens;
    const events: CallEvent[] = [{ type: 'vector', call, vector }];
    if (work.computed === inputs.length) {
      events.push({ type: 'end', call, reason: 'stop', usage: { promptTokens: work.tokens } });
    }
    this.options.post({ seconds, decodedTokens: 0, prefillTokens: text.tokens, events });
  }

  private async computed(text: ReadText, isVector: boolean): Promise<Float32Array> {
    try {
      const values = await text.compute();
      const vector = isVector ? toUnitLength(values) : values;
      if (!vector.every(Number.isFinite)) throw new Error('it gave a value that is no number');
      this.failedTexts = 0;
      return vector;
    } catch (error) {
      const failure = broken(error);
      if (++this.failedTexts >= MOST_FAILED_TEXTS) this.options.giveUp(failure.message);
      throw failure;
    }
  }

  private fail(call: number, error: EngineError): void {
    const at = this.queue.findIndex(({ request }) => request.call === call);
    if (at < 0) return;
    this.queue.splice(at, 1);
    const failed = { type: 'failed', call, error } as const;
    this.options.post({ seconds: 0, decodedTokens: 0, prefillTokens: 0, events: [failed] });
  }
}

function broken(error: unknown): GatewayError {
  const reason = error instanceof Error ? error.message : String(error);
  return new GatewayError('backend_failed', `The engine failed to compute a text: ${reason}`);
}

/**
 * As OpenAI's are, and llama.cpp's server makes them: then the scalar product is the cosine. A vector without any length
 * stays as it is.
 */
export function toUnitLength(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}

/** Shorter vectors only mean something where a model was taught to have them cut, and no file says so. */
function refuseOtherLength(dimensions: number | undefined, vectorLength: number): void {
  if (dimensions === undefined || dimensions === vectorLength) return;
  throw new GatewayError(
    'invalid_request',
    `This model makes vectors of ${vectorLength} numbers, and no others: leave dimensions out.`,
    { param: 'dimensions' },
  );
}

/** A number that is out of range ends the native code's step, for everybody. */
function refuseOtherTokens(input: EngineText, vocabularySize: number, place: string): void {
  if (typeof input === 'string') return;
  if (input.every((token) => Number.isInteger(token) && token >= 0 && token < vocabularySize)) return;
  throw new GatewayError(
    'invalid_request',
    `${place} has a number that is no token of this model: they go from 0 to ${vocabularySize - 1}.`,
    { param: place },
  );
}
