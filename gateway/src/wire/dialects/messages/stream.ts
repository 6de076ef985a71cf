// A stream of Anthropic's messages dialect: blocks that open, grow and close, one at a time, each event named.
// Its clients take the newest block for the one that ends. So what belongs to another block waits while a call's arguments are
// not whole, since servers may go back to an earlier call. What has no block here, as a second choice, stops here.
import type { TokenEvent, Usage } from '../../../core/chat.ts';
import type { GatewayError } from '../../../core/errors.ts';
import type { AnswerMeta, Report, StreamCodec } from '../../dialect.ts';
import { stringifyLine } from '../../json.ts';
import { JsonEnd } from '../../json-end.ts';
import { endOf, messagesError, messagesUsage, UNSIGNED } from './answer.ts';

type Delta = Extract<TokenEvent, { type: 'text-delta' | 'reasoning-delta' | 'tool-call-delta' }>;

/** A block that grows. */
interface OpenBlock {
  /** Of a call: its number. */
  readonly kind: 'text' | 'thinking' | number;
  readonly index: number;
  /** Written before each of its pieces. */
  readonly before: string;
  /** Of a call: whether its arguments are whole. */
  readonly end: JsonEnd | undefined;
}

const PING = 'event: ping\ndata: {"type":"ping"}\n\n';
const DELTA = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":';
const DELTA_KINDS = {
  text: '"text_delta","text":',
  thinking: '"thinking_delta","thinking":',
  call: '"input_json_delta","partial_json":',
} as const;
/** Events that wait for a call's arguments; above that it closes as it is. */
const MOST_HELD = 10_000;

export class MessagesStream implements StreamCodec {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #meta: AnswerMeta;
  #hasBegun = false;
  /** Blocks so far. */
  #blocks = 0;
  #open: OpenBlock | undefined;
  /** By their numbers: they have had their block. */
  readonly #calls = new Set<number>();
  #held: Delta[] = [];
  #end: Extract<TokenEvent, { type: 'choice-end' }> | undefined;
  #usage: Usage = {};

  constructor(meta: AnswerMeta) {
    this.#meta = meta;
  }

  event(event: TokenEvent): string {
    if ('choice' in event && event.choice !== 0) return '';
    switch (event.type) {
      case 'start':
        return this.#begin();
      case 'text-delta':
      case 'reasoning-delta':
      case 'tool-call-delta':
        return this.#take(event);
      case 'choice-end':
        this.#end = event;
        return this.#begin() + this.#closeAll();
      case 'finish':
        this.#usage = event.usage;
        return '';
    }
  }

  keepAlive(): string {
    return PING;
  }

  idleEvent(): string {
    return PING;
  }

  error(error: GatewayError): string {
    return eventOf('error', messagesError(error, this.#meta.id));
  }

  end(report: Report | undefined): string {
    const usage = messagesUsage(this.#usage);
    const last = eventOf('message_delta', {
      type: 'message_delta',
      delta: endOf(this.#end ?? {}),
      usage,
      ...(report && { sluice: report }),
    });
    return `${last}event: message_stop\ndata: {"type":"message_stop"}\n\n`;
  }

  #begin(): string {
    if (this.#hasBegun) return '';
    this.#hasBegun = true;
    const { id, model } = this.#meta;
    const message = {
      id: `msg_${id}`,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      // Of what was counted so far; the true counts come at the end.
      usage: { input_tokens: 0, output_tokens: 0 },
    };
    return eventOf('message_start', { type: 'message_start', message });
  }

  #take(event: Delta): string {
    const open = this.#open;
    if (open !== undefined && open.kind === kindOf(event)) {
      const grown = grow(open, event);
      return this.#held.length > 0 && isWhole(open) ? grown + this.#release() : grown;
    }
    // Where something waits, it is known not to be whole.
    if (open !== undefined && (this.#held.length > 0 || !isWhole(open))) {
      this.#held.push(event);
      return this.#held.length > MOST_HELD ? this.#release() : '';
    }
    return this.#start(event);
  }

  #start(event: Delta): string {
    const kind = kindOf(event);
    const isCall = event.type === 'tool-call-delta';
    if (isCall ? this.#calls.has(event.index) : event.text === '') return '';
    const before = this.#begin() + this.#close();
    const index = this.#blocks;
    this.#blocks += 1;
    const delta = DELTA_KINDS[typeof kind === 'number' ? 'call' : kind];
    const end = isCall ? new JsonEnd() : undefined;
    this.#open = { kind, index, before: `${DELTA}${index},"delta":{"type":${delta}`, end };
    if (isCall) this.#calls.add(event.index);
    return before + startOf(index, blockOf(event)) + grow(this.#open, event);
  }

  /** The open block ends as it is, and what waited for that has its turn. */
  #release(): string {
    const held = this.#held;
    this.#held = [];
    return this.#close() + held.map((event) => this.#take(event)).join('');
  }

  #closeAll(): string {
    let written = '';
    while (this.#held.length > 0) written += this.#release();
    return written + this.#close();
  }

  #close(): string {
    const open = this.#open;
    if (open === undefined) return '';
    this.#open = undefined;
    const { kind, index } = open;
    const signature = `${DELTA}${index},"delta":{"type":"signature_delta","signature":"${UNSIGNED}"}}\n\n`;
    return (kind === 'thinking' ? signature : '') + stopAt(index);
  }
}

function kindOf(event: Delta): OpenBlock['kind'] {
  if (event.type === 'tool-call-delta') return event.index;
  return event.type === 'text-delta' ? 'text' : 'thinking';
}

function grow(open: OpenBlock, event: Delta): string {
  const isCall = event.type === 'tool-call-delta';
  const piece = isCall ? event.arguments : event.text;
  if (piece === '') return '';
  open.end?.push(piece);
  return `${open.before}${stringifyLine(piece)}}}\n\n`;
}

/** Whether nothing can be missing of it. */
function isWhole({ end }: OpenBlock): boolean {
  return end?.isReached ?? true;
}

/** As it opens: empty. */
function blockOf(event: Delta): object {
  if (event.type === 'text-delta') return { type: 'text', text: '' };
  if (event.type === 'reasoning-delta') return { type: 'thinking', thinking: '', signature: '' };
  const { index, id, name } = event;
  return { type: 'tool_use', id: id ?? `toolu_${index}`, name: name ?? '', input: {} };
}

function startOf(index: number, block: object): string {
  return eventOf('content_block_start', { type: 'content_block_start', index, content_block: block });
}

function stopAt(index: number): string {
  return eventOf('content_block_stop', { type: 'content_block_stop', index });
}

function eventOf(name: string, data: object): string {
  return `event: ${name}\ndata: ${stringifyLine(data)}\n\n`;
}
