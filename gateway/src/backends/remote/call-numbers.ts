// Which of an answer's tool calls a streamed piece belongs to, and the number and the id under which it leaves us.
// Servers number calls from anywhere, give two of them one number, or leave ids out: what leaves is 0, 1, 2, each with an id.
// It must never change a call's arguments: pieces are joined by the client.
import { randomBytes } from 'node:crypto';
import type { TokenEvent } from '../../core/chat.ts';
import { ValueEnd } from '../llama/call-body.ts';

/** A piece as a server sent it; its members are as JSON had them. */
export interface UpstreamCall {
  readonly id?: unknown;
  readonly index?: unknown;
  readonly name?: unknown;
  /** Text. */
  readonly arguments: string;
  /** It is a call by itself, whatever came before. */
  readonly isWhole: boolean;
}

/** The event's members that tell the call. */
export type NumberedCall = Pick<
  Extract<TokenEvent, { type: 'tool-call-delta' }>,
  'index' | 'id' | 'name' | 'arguments'
>;

interface Call {
  readonly index: number;
  /** The server has told an id. */
  hasId: boolean;
  name: string | undefined;
  hasArguments: boolean;
  /** Where its arguments end: what tells two calls apart where nothing else does. */
  readonly value: ValueEnd | undefined;
}

export class CallNumbers {
  readonly #calls: Call[] = [];
  readonly #byId = new Map<string, Call>();
  readonly #byIndex = new Map<number, Call>();
  readonly #newId: () => string;
  #last: Call | undefined;

  constructor(newId: () => string = () => `call_${randomBytes(12).toString('hex')}`) {
    this.#newId = newId;
  }

  get hasCalls(): boolean {
    return this.#calls.length > 0;
  }

  /** Undefined: the piece says nothing new. */
  take(piece: UpstreamCall): NumberedCall | undefined {
    const id = wordOf(piece.id);
    const name = wordOf(piece.name);
    const index = typeof piece.index === 'number' ? piece.index : undefined;
    if (id === undefined && name === undefined && piece.arguments === '') return undefined;
    const known = piece.isWhole ? undefined : this.#find(id, index, name, piece.arguments);
    const call = known ?? this.#open(id);
    if (id !== undefined && !call.hasId) {
      call.hasId = true;
      if (!this.#byId.has(id)) this.#byId.set(id, call);
    }
    if (index !== undefined) this.#byIndex.set(index, call);
    this.#last = call;
    const isNamed = call.name === undefined && name !== undefined;
    if (isNamed) call.name = name;
    if (piece.arguments !== '') this.#argued(call, piece.arguments);
    if (known && !isNamed && piece.arguments === '') return undefined;
    return {
      index: call.index,
      // An id that another call has already would be of no use to who answers the calls.
      ...(!known && { id: id === undefined || this.#byId.get(id) !== call ? this.#newId() : id }),
      ...(isNamed && { name }),
      arguments: piece.arguments,
    };
  }

  /** The numbers of the calls that have no arguments at all. */
  withoutArguments(): readonly number[] {
    return this.#calls.filter(({ hasArguments }) => !hasArguments).map(({ index }) => index);
  }

  /** The call that is gone on with: that of its id, else of its index, else the one last open. */
  #find(
    id: string | undefined,
    index: number | undefined,
    name: string | undefined,
    text: string,
  ): Call | undefined {
    const byId = id === undefined ? undefined : this.#byId.get(id);
    if (byId) return byId;
    const open = index === undefined ? this.#last : this.#byIndex.get(index);
    if (!open) return undefined;
    // A call begins with its name: without one, a new id is told late, or a server makes one up for every piece.
    if (name === undefined) return open;
    // A new id at a used index is a new call.
    if (id !== undefined) return undefined;
    if (open.name === undefined) return open;
    // Some servers name a call in each of its pieces, and some give a second call the first one's number.
    const isOther = name !== open.name || (text !== '' && open.value?.isOver === true);
    return isOther ? undefined : open;
  }

  #open(id: string | undefined): Call {
    const value = id === undefined ? new ValueEnd() : undefined;
    const call: Call = {
      index: this.#calls.length,
      hasId: false,
      name: undefined,
      hasArguments: false,
      value,
    };
    this.#calls.push(call);
    return call;
  }

  #argued(call: Call, text: string): void {
    const { value } = call;
    if (value) {
      const rest = call.hasArguments ? text : text.trimStart();
      for (let at = 0; at < rest.length && !value.isOver; at += 1) value.take(rest.charAt(at));
    }
    call.hasArguments ||= text.trim() !== '';
  }
}

/** A text that is not empty. */
function wordOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
