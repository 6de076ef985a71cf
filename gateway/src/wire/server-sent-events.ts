// What OpenAI's streaming dialects share: their frame, their silence, their end, and how the last chunk waits.
// Exactly `data: `, no comments, no ids, no event names: each of those breaks some published client.
// A chunk costs one JSON.stringify of its text; all around it was built when its choice began.
import type { TokenEvent, TokenLogprob, Usage } from '../core/chat.ts';
import type { GatewayError } from '../core/errors.ts';
import type { AnswerMeta, Report, StreamCodec } from './dialect.ts';
import { errorBody } from './error-body.ts';
import { stringifyLine } from './json.ts';
import { usageBody } from './usage.ts';

/** JSON before and after a text. */
export type Affixes = readonly [before: string, after: string];

/** How a dialect writes what stands in a chunk's `choices[0]` between `index` and `finish_reason`, as JSON members. */
export interface ChunkShape {
  /** A choice's first chunk, before any text; undefined if the dialect has no such chunk. */
  readonly opening: string | undefined;
  readonly text: Affixes;
  /** A text with its tokens' probabilities. */
  readonly likelyText: (text: string, logprobs: readonly TokenLogprob[]) => string;
  readonly reasoning: Affixes;
  /** Undefined if the dialect cannot express tool calls: they stop here. */
  readonly toolCall: ((event: Extract<TokenEvent, { type: 'tool-call-delta' }>) => string) | undefined;
  /** A choice's last chunk. */
  readonly closing: string;
}

/** The members that open every chunk of one stream. */
export interface ChunkHead extends AnswerMeta {
  readonly object: string;
}

/** What is the same in all chunks of one choice. */
interface ChoiceFrame {
  readonly start: string;
  readonly text: Affixes;
  readonly reasoning: Affixes;
}

const KEEP_ALIVE = '\n';
const DONE = 'data: [DONE]\n\n';

/** The codec of one stream. Each choice's end is held back until the next one's, the last until usage is known. */
export class ServerSentEvents implements StreamCodec {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #shape: ChunkShape;
  readonly #includeUsage: boolean;
  /** Up to and with `"choices":[`. */
  readonly #head: string;
  /** Ends every chunk but the one that carries the usage. */
  readonly #tail: string;
  readonly #frames = new Map<number, ChoiceFrame>();
  #held: Extract<TokenEvent, { type: 'choice-end' }> | undefined;
  #usage: Usage = {};

  constructor({ id, object, created, model }: ChunkHead, shape: ChunkShape, includeUsage: boolean) {
    this.#shape = shape;
    this.#includeUsage = includeUsage;
    this.#head = `data: ${stringifyLine({ id, object, created, model }).slice(0, -1)},"choices":[`;
    this.#tail = includeUsage ? ',"usage":null}\n\n' : '}\n\n';
  }

  event(event: TokenEvent): string {
    switch (event.type) {
      case 'text-delta': {
        const frame = this.#frames.get(event.choice);
        if (!frame) return this.#open(event.choice) + this.event(event);
        if (event.logprobs) {
          const members = this.#shape.likelyText(event.text, event.logprobs);
          return this.#chunk(event.choice, members, 'null');
        }
        return frame.text[0] + stringifyLine(event.text) + frame.text[1];
      }
      case 'reasoning-delta': {
        const frame = this.#frames.get(event.choice);
        if (!frame) return this.#open(event.choice) + this.event(event);
        return frame.reasoning[0] + stringifyLine(event.text) + frame.reasoning[1];
      }
      case 'tool-call-delta': {
        const members = this.#shape.toolCall?.(event);
        return members === undefined
          ? ''
          : this.#open(event.choice) + this.#chunk(event.choice, members, 'null');
      }
      case 'choice-end': {
        const earlier = this.#flush();
        this.#held = event;
        return earlier + this.#open(event.choice);
      }
      case 'start':
        return this.#open(0);
      case 'finish':
        this.#usage = event.usage;
        return '';
    }
  }

  keepAlive(): string {
    return KEEP_ALIVE;
  }

  idleEvent(): string {
    return this.#open(0) + this.#chunk(0, this.#shape.closing, 'null');
  }

  error(error: GatewayError): string {
    return `data: ${stringifyLine(errorBody(error))}\n\n`;
  }

  end(report: Report | undefined): string {
    const record = report === undefined ? '' : `,"sluice":${stringifyLine(report)}`;
    if (!this.#includeUsage) return this.#flush(record) + DONE;
    const usage = stringifyLine(usageBody(this.#usage));
    return `${this.#flush()}${this.#head}],"usage":${usage}${record}}\n\n${DONE}`;
  }

  /** A choice's first chunk, when it is first heard of. */
  #open(choice: number): string {
    if (this.#frames.has(choice)) return '';
    this.#frame(choice);
    const { opening } = this.#shape;
    return opening === undefined ? '' : this.#chunk(choice, opening, 'null');
  }

  #frame(choice: number): ChoiceFrame {
    const known = this.#frames.get(choice);
    if (known) return known;
    const start = `${this.#head}{"index":${choice},`;
    const end = `,"finish_reason":null}]${this.#tail}`;
    const around = ([before, after]: Affixes): Affixes => [start + before, after + end];
    const frame = { start, text: around(this.#shape.text), reasoning: around(this.#shape.reasoning) };
    this.#frames.set(choice, frame);
    return frame;
  }

  #flush(record = ''): string {
    const held = this.#held;
    if (!held) return '';
    this.#held = undefined;
    const { choice, reason, stop } = held;
    const met = stop === undefined ? '' : `,"stop_reason":${stringifyLine(stop)}`;
    return this.#chunk(choice, this.#shape.closing, `"${reason}"${met}`, record);
  }

  #chunk(choice: number, members: string, reason: string, record = ''): string {
    return `${this.#frame(choice).start}${members},"finish_reason":${reason}}]${record}${this.#tail}`;
  }
}
