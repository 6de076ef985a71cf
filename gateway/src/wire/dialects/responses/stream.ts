// A response as it is made: OpenAI's typed events, each with its name and its number, in the order of OpenAI's own server.
// A thought or a text ends where something else begins; calls stay open to the end, since back ends may finish an early one last.
// A chunk costs one JSON.stringify of its text; all around it was built when its item began.
import type { FinishReason, TokenEvent, TokenLogprob, Usage } from '../../../core/chat.ts';
import { GatewayError } from '../../../core/errors.ts';
import type { AnswerMeta, ParsedRequest, Report, StreamCodec } from '../../dialect.ts';
import { errorBody } from '../../error-body.ts';
import { stringifyLine } from '../../json.ts';
import { tokenLogprobs } from '../../logprobs.ts';
import {
  callItem,
  type ItemStatus,
  isCut,
  itemId,
  messageItem,
  reasoningItem,
  responseHead,
  responseState,
  type ThoughtForm,
  textPart,
  thoughtForm,
  thoughtPart,
} from './body.ts';

interface ItemBase {
  readonly id: string;
  /** Its `output_index`. */
  readonly place: number;
  /** An event of a piece of its text, up to the event's number. */
  readonly frame: string;
  status: ItemStatus;
  /** So far. */
  text: string;
}

interface Said extends ItemBase {
  readonly kind: 'reasoning' | 'message';
  readonly logprobs: TokenLogprob[];
}

interface Called extends ItemBase {
  readonly kind: 'call';
  readonly callId: string | undefined;
  readonly name: string | undefined;
}

type Item = Said | Called;

/** A call whose name is not known yet: its item cannot begin. */
interface Unnamed {
  readonly id: string | undefined;
  readonly arguments: string;
}

/** The events of what is said: of a part, of its text, and the member that tells which part of its item it is. */
const SAID_NAMES = {
  output_text: ['response.content_part', 'response.output_text', 'content_index'],
  reasoning_text: ['response.content_part', 'response.reasoning_text', 'content_index'],
  summary_text: ['response.reasoning_summary_part', 'response.reasoning_summary_text', 'summary_index'],
} as const;
const CALL_ARGUMENTS = 'response.function_call_arguments';

/** A blank line breaks no known client, and ends no event: each of them has ended itself. */
const KEEP_ALIVE = '\n';

/** UTF-16 units that are kept to be said once more at the end: far above any model's window. */
const MAX_LENGTH = 32 * 1024 * 1024;
/** What a token's or a candidate's probability takes of that bound. */
const LOGPROB_LENGTH = 16;

/** The codec of one stream; the answer has one choice. */
export class ResponsesStream implements StreamCodec {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #meta: AnswerMeta;
  readonly #thoughtForm: ThoughtForm;
  /** The response object without what changes, and without its closing brace. */
  readonly #head: string;
  readonly #items: Item[] = [];
  readonly #calls = new Map<number, Called | Unnamed>();
  /** What is being said. */
  #said: Said | undefined;
  #sequence = 0;
  #length = 0;
  #reason: FinishReason | undefined;
  #usage: Usage = {};

  constructor(meta: AnswerMeta, request: ParsedRequest) {
    this.#meta = meta;
    this.#thoughtForm = thoughtForm(request);
    this.#head = stringifyLine(responseHead(meta, request)).slice(0, -1);
  }

  /** Throws `backend_failed` when the answer grows past any reason. */
  event(event: TokenEvent): string {
    switch (event.type) {
      case 'text-delta':
        return this.#say('message', event.text, event.logprobs);
      case 'reasoning-delta':
        return this.#say('reasoning', event.text, undefined);
      case 'tool-call-delta':
        return this.#call(event);
      case 'choice-end':
        this.#reason = event.reason;
        return this.#begin() + this.#endItems();
      case 'start':
        return this.#begin();
      case 'finish':
        this.#usage = event.usage;
        return '';
    }
  }

  keepAlive(): string {
    return KEEP_ALIVE;
  }

  /** An empty piece of what is under way; clients take a response that is told once more for a new state of its output. */
  idleEvent(): string {
    const open = this.#items.findLast(({ status }) => status === 'in_progress');
    if (open) return this.#piece(open, '');
    return this.#begin() || this.#response('response.in_progress', responseState([]));
  }

  error(error: GatewayError): string {
    const opening = this.#begin();
    const output = this.#items.map((item) =>
      this.#body(item, item.status === 'in_progress' ? 'incomplete' : item.status),
    );
    const failed = this.#response('response.failed', responseState(output, { error }));
    // Node's client raises by the event's name, Python's and the AI SDK by the member `error`; OpenAI's own has neither nested.
    const { error: inner } = errorBody(error);
    const { message, code, param } = inner;
    return opening + failed + this.#write('error', { code, message, param, error: inner });
  }

  end(report: Report | undefined): string {
    const output = this.#items.map((item) => this.#body(item, item.status));
    const end = { reason: this.#reason, usage: this.#usage, report };
    const type = isCut(this.#reason) ? 'response.incomplete' : 'response.completed';
    return this.#response(type, responseState(output, end));
  }

  /** The response's first events, once. */
  #begin(): string {
    if (this.#sequence > 0) return '';
    const state = responseState([]);
    return this.#response('response.created', state) + this.#response('response.in_progress', state);
  }

  #say(kind: Said['kind'], text: string, logprobs: readonly TokenLogprob[] | undefined): string {
    const hasLogprobs = logprobs !== undefined && logprobs.length > 0;
    if (text === '' && !hasLogprobs) return this.#begin();
    let said = this.#said;
    let opening = '';
    if (said?.kind !== kind) {
      opening = this.#begin() + this.#endSaid();
      said = this.#addSaid(kind);
      opening += this.#openSaid(said);
    }
    this.#grow(text.length);
    said.text += text;
    if (!hasLogprobs) return opening + this.#piece(said, text);
    for (const one of logprobs) {
      this.#grow(LOGPROB_LENGTH * (1 + one.top.length));
      said.logprobs.push(one);
    }
    const members = { ...this.#partOf(said), delta: text, logprobs: tokenLogprobs(logprobs) };
    return opening + this.#write('response.output_text.delta', members);
  }

  #call({ index, id, name, arguments: text }: Extract<TokenEvent, { type: 'tool-call-delta' }>): string {
    this.#grow(text.length);
    const known = this.#calls.get(index);
    if (known && 'kind' in known) {
      known.text += text;
      return text === '' ? '' : this.#piece(known, text);
    }
    const unnamed: Unnamed = { id: known?.id ?? id, arguments: (known?.arguments ?? '') + text };
    this.#calls.set(index, unnamed);
    return this.#begin() + (name === undefined ? '' : this.#openCall(index, unnamed, name));
  }

  #addSaid(kind: Said['kind']): Said {
    const place = this.#items.length;
    const id = itemId(kind, this.#meta, place);
    const [, text, partIndex] = SAID_NAMES[this.#formOf(kind)];
    const members = { item_id: id, output_index: place, [partIndex]: 0 };
    const frame = frameOf(`${text}.delta`, kind === 'message' ? { ...members, logprobs: [] } : members);
    const said: Said = { kind, id, place, frame, status: 'in_progress', text: '', logprobs: [] };
    this.#items.push(said);
    this.#said = said;
    return said;
  }

  #openSaid(said: Said): string {
    const [part] = SAID_NAMES[this.#formOf(said.kind)];
    const added = this.#write('response.output_item.added', {
      output_index: said.place,
      item: this.#body(said, 'in_progress'),
    });
    const members = { ...this.#partOf(said), part: this.#part(said) };
    return added + this.#write(`${part}.added`, members);
  }

  #openCall(index: number, { id: callId, arguments: text }: Unnamed, name: string | undefined): string {
    const closing = this.#endSaid();
    const place = this.#items.length;
    const id = itemId('call', this.#meta, place);
    const frame = frameOf(`${CALL_ARGUMENTS}.delta`, { item_id: id, output_index: place });
    const called: Called = { kind: 'call', id, place, frame, status: 'in_progress', text: '', callId, name };
    this.#items.push(called);
    this.#calls.set(index, called);
    const item = this.#body(called, 'in_progress');
    const added = this.#write('response.output_item.added', { output_index: place, item });
    called.text = text;
    return closing + added + (text === '' ? '' : this.#piece(called, text));
  }

  #endSaid(): string {
    const said = this.#said;
    this.#said = undefined;
    return said ? this.#endItem(said, 'completed') : '';
  }

  #endItems(): string {
    let text = '';
    for (const [index, call] of this.#calls) {
      // A piece that told nothing is no call.
      if ('kind' in call || (call.id === undefined && call.arguments === '')) continue;
      text += this.#openCall(index, call, undefined);
    }
    const last = this.#items.length - 1;
    for (const item of this.#items) {
      if (item.status !== 'in_progress') continue;
      text += this.#endItem(item, item.place === last && isCut(this.#reason) ? 'incomplete' : 'completed');
    }
    this.#said = undefined;
    return text;
  }

  #endItem(item: Item, status: ItemStatus): string {
    item.status = status;
    const done = { output_index: item.place, item: this.#body(item, status) };
    if (item.kind === 'call') {
      const { id, place, name = '', text } = item;
      const members = { item_id: id, output_index: place, name, arguments: text };
      return this.#write(`${CALL_ARGUMENTS}.done`, members) + this.#write('response.output_item.done', done);
    }
    const [part, text] = SAID_NAMES[this.#formOf(item.kind)];
    const place = this.#partOf(item);
    const likely = item.kind === 'message' ? { logprobs: tokenLogprobs(item.logprobs) } : {};
    return (
      this.#write(`${text}.done`, { ...place, text: item.text, ...likely }) +
      this.#write(`${part}.done`, { ...place, part: this.#part(item) }) +
      this.#write('response.output_item.done', done)
    );
  }

  #formOf(kind: Said['kind']): keyof typeof SAID_NAMES {
    return kind === 'message' ? 'output_text' : this.#thoughtForm;
  }

  /** Which part of which item. */
  #partOf({ kind, id, place }: Said): object {
    const [, , partIndex] = SAID_NAMES[this.#formOf(kind)];
    return { item_id: id, output_index: place, [partIndex]: 0 };
  }

  #part({ kind, text, logprobs }: Said): object {
    return kind === 'message' ? textPart(text, logprobs) : thoughtPart(this.#thoughtForm, text);
  }

  #body(item: Item, status: ItemStatus): object {
    if (item.kind === 'call') {
      return callItem(item.id, status, { id: item.callId, name: item.name, arguments: item.text });
    }
    // Nothing of it was said yet when it begins.
    const parts = item.text === '' && item.logprobs.length === 0 ? [] : [this.#part(item)];
    if (item.kind === 'message') return messageItem(item.id, status, parts);
    return reasoningItem(item.id, status, this.#thoughtForm, parts);
  }

  #piece({ frame }: Item, text: string): string {
    return `${frame}${this.#next()},"delta":${stringifyLine(text)}}\n\n`;
  }

  #response(type: string, state: object): string {
    const members = stringifyLine(state).slice(1);
    return `${frameOf(type, {})}${this.#next()},"response":${this.#head},${members}}\n\n`;
  }

  #write(type: string, members: object): string {
    return `${frameOf(type, {})}${this.#next()},${stringifyLine(members).slice(1)}\n\n`;
  }

  #next(): number {
    const number = this.#sequence;
    this.#sequence += 1;
    return number;
  }

  #grow(units: number): void {
    this.#length += units;
    if (this.#length > MAX_LENGTH) {
      throw new GatewayError('backend_failed', 'The back end sent more text than any answer can have.');
    }
  }
}

/** An event up to its number. */
function frameOf(type: string, members: object): string {
  return `event: ${type}\ndata: ${stringifyLine({ type, ...members }).slice(0, -1)},"sequence_number":`;
}
