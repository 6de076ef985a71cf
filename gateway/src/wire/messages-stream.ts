// A stream of Anthropic's messages dialect: blocks that open, grow and close, each event named.
// A tool's block stays open to the end of the message, since servers may go back to an earlier call; a thought's or a
// text's closes when another kind begins. What was not asked for and has no block here, as a second choice, stops here.
import type { FinishReason, TokenEvent, Usage } from '../core/chat.ts';
import type { GatewayError } from '../core/errors.ts';
import type { AnswerMeta, Report, StreamCodec } from './dialect.ts';
import { stringifyLine } from './json.ts';
import { messagesError, messagesUsage, stopOf, UNSIGNED } from './messages-answer.ts';

type SpokenKind = 'text' | 'thinking';

const PING = 'event: ping\ndata: {"type":"ping"}\n\n';
const DELTA = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":';

export class MessagesStream implements StreamCodec {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #meta: AnswerMeta;
  #hasBegun = false;
  /** Blocks so far. */
  #blocks = 0;
  /** The text or thought that is open. */
  #spoken: { readonly kind: SpokenKind; readonly index: number; readonly before: string } | undefined;
  /** The block of each call, by its number. */
  readonly #calls = new Map<number, number>();
  #reason: FinishReason = 'stop';
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
        return this.#say('text', event.text);
      case 'reasoning-delta':
        return this.#say('thinking', event.text);
      case 'tool-call-delta':
        return this.#call(event);
      case 'choice-end':
        this.#reason = event.reason;
        return this.#begin() + this.#closeSpoken() + this.#closeCalls();
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
    const delta = { stop_reason: stopOf(this.#reason), stop_sequence: null };
    const usage = messagesUsage(this.#usage);
    const last = eventOf('message_delta', {
      type: 'message_delta',
      delta,
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

  #say(kind: SpokenKind, text: string): string {
    if (text === '') return '';
    const spoken = this.#spoken;
    if (spoken?.kind === kind) return `${spoken.before}${stringifyLine(text)}}}\n\n`;
    return this.#begin() + this.#closeSpoken() + this.#open(kind) + this.#say(kind, text);
  }

  #open(kind: SpokenKind): string {
    const index = this.#blocks;
    this.#blocks += 1;
    const delta = kind === 'text' ? '"text_delta","text":' : '"thinking_delta","thinking":';
    this.#spoken = { kind, index, before: `${DELTA}${index},"delta":{"type":${delta}` };
    return startOf(
      index,
      kind === 'text' ? { type: kind, text: '' } : { type: kind, thinking: '', signature: '' },
    );
  }

  #call({ index: number, id, name, arguments: piece }: Extract<TokenEvent, { type: 'tool-call-delta' }>) {
    let opening = '';
    let index = this.#calls.get(number);
    if (index === undefined) {
      index = this.#blocks;
      this.#blocks += 1;
      this.#calls.set(number, index);
      const block = { type: 'tool_use', id: id ?? `toolu_${number}`, name: name ?? '', input: {} };
      opening = this.#begin() + this.#closeSpoken() + startOf(index, block);
    }
    if (piece === '') return opening;
    const delta = `"delta":{"type":"input_json_delta","partial_json":${stringifyLine(piece)}}}`;
    return `${opening}${DELTA}${index},${delta}\n\n`;
  }

  #closeSpoken(): string {
    const spoken = this.#spoken;
    if (!spoken) return '';
    this.#spoken = undefined;
    const { kind, index } = spoken;
    const signature =
      kind === 'thinking'
        ? `${DELTA}${index},"delta":{"type":"signature_delta","signature":"${UNSIGNED}"}}\n\n`
        : '';
    return signature + stopAt(index);
  }

  #closeCalls(): string {
    const closed = [...this.#calls.values()].map(stopAt).join('');
    this.#calls.clear();
    return closed;
  }
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
