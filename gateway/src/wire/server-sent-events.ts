// What OpenAI's streaming dialects share: their frame, their silence, their end, and how the last chunk waits.
// Exactly `data: `, no comments, no ids, no event names: each of those breaks some published client.
import type { FinishReason, TokenEvent, Usage } from '../core/chat.ts';
import type { GatewayError } from '../core/errors.ts';
import type { Report, StreamCodec } from './dialect.ts';
import { errorBody } from './error-body.ts';
import { usageBody } from './usage.ts';

/** One chunk's `choices[0]`, as JSON text without its braces' content around `index` and `finish_reason`. */
export interface ChunkShape {
  /** The constant fields that open every chunk: `"id":…,"object":…,"created":…,"model":…`. */
  readonly head: string;
  /** What a choice's first chunk has before any text; undefined if the dialect has no such chunk. */
  readonly opening: string | undefined;
  /** The body of a delta, as JSON members: `"delta":{…}` or `"text":…`. */
  delta(event: Extract<TokenEvent, { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' }>): string;
  /** The body of a choice's last chunk. */
  readonly closing: string;
}

const KEEP_ALIVE = '\n';
const DONE = 'data: [DONE]\n\n';

export class ServerSentEvents implements StreamCodec {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #shape: ChunkShape;
  readonly #includeUsage: boolean;
  /** Ends every chunk but the one that carries the usage. */
  readonly #tail: string;
  readonly #opened = new Set<number>();
  /** The last choice's end: it waits for usage and report. */
  #held: { readonly choice: number; readonly reason: FinishReason } | undefined;
  #usage: Usage = {};

  constructor(shape: ChunkShape, includeUsage: boolean) {
    this.#shape = shape;
    this.#includeUsage = includeUsage;
    this.#tail = includeUsage ? ',"usage":null}\n\n' : '}\n\n';
  }

  event(event: TokenEvent): string {
    switch (event.type) {
      case 'start':
        return this.#open(0);
      case 'finish':
        this.#usage = event.usage;
        return '';
      case 'choice-end': {
        const earlier = this.#flush();
        this.#held = event;
        return earlier + this.#open(event.choice);
      }
      default:
        return this.#open(event.choice) + this.#chunk(event.choice, this.#shape.delta(event), 'null');
    }
  }

  keepAlive(): string {
    return KEEP_ALIVE;
  }

  error(error: GatewayError): string {
    return `data: ${JSON.stringify(errorBody(error))}\n\n`;
  }

  end(report: Report | undefined): string {
    const record = report === undefined ? '' : `,"sluice":${JSON.stringify(report)}`;
    if (this.#includeUsage) {
      const usage = JSON.stringify(usageBody(this.#usage));
      return `${this.#flush()}data: {${this.#shape.head},"choices":[],"usage":${usage}${record}}\n\n${DONE}`;
    }
    return this.#flush(record) + DONE;
  }

  #open(choice: number): string {
    if (this.#opened.has(choice)) return '';
    this.#opened.add(choice);
    const { opening } = this.#shape;
    return opening === undefined ? '' : this.#chunk(choice, opening, 'null');
  }

  #flush(record = ''): string {
    const held = this.#held;
    if (!held) return '';
    this.#held = undefined;
    return this.#chunk(held.choice, this.#shape.closing, `"${held.reason}"`, record);
  }

  #chunk(choice: number, body: string, reason: string, record = ''): string {
    const { head } = this.#shape;
    return `data: {${head},"choices":[{"index":${choice},${body},"finish_reason":${reason}}]${record}${this.#tail}`;
  }
}
