// The items of a Responses request as the messages of a conversation: what belongs to one turn of the assistant (its thought,
// its text, its calls) comes as items in a row, and becomes one message.
// It must never drop what a model would have read: an item that has no meaning here is refused by its place. Pure.
import { z } from 'zod';
import type { ContentPart, Message, Role } from '../../../core/chat.ts';
import type { MessageOrigin } from '../../field-names.ts';
import { plainContent } from '../../plain-content.ts';
import { isNullish, isObject, listOf, textOr } from '../../request-fields.ts';

type Members = Readonly<Record<string, unknown>>;
type Refuse = (path: string[], message: string) => never;

/** What one item says. */
type Item =
  | { readonly kind: 'message'; readonly role: Exclude<Role, 'tool'>; readonly content: Content }
  | { readonly kind: 'reasoning'; readonly text: string }
  | { readonly kind: 'call'; readonly id: string; readonly name: string; readonly arguments: string }
  | { readonly kind: 'output'; readonly callId: string; readonly content: Content }
  | { readonly kind: 'nothing' };

type Content = string | readonly ContentPart[];

const CONTENT = 'must be a text or a list of parts';
const ITEM =
  'must be a message, reasoning, function_call or function_call_output: no other kind is known here';
const NOT_KEPT =
  'cannot be looked up, since nothing is stored here: send the item itself, with "store": false';
const NO_FILES = 'names a file, and none is kept here: send its bytes, as a data: URL';

const part = z.custom<Members>(isObject, 'must be a part, an object with a "type"').transform(
  (value, context): ContentPart =>
    readPart(value, (path, message) => {
      context.addIssue({ code: 'custom', path, message });
      return z.NEVER;
    }),
);

const content = textOr(listOf(part, CONTENT));

const item = z
  .custom<Members>(isObject, 'must be an item, an object with a "type"')
  .transform((value, context): Item => {
    const refuse = (path: PropertyKey[], message: string) => {
      context.addIssue({ code: 'custom', path, message });
      return z.NEVER;
    };
    const contentOf = (name: 'content' | 'output'): Content => {
      if (isNullish(value[name])) return refuse([name], CONTENT);
      const read = content.safeParse(value[name]);
      if (read.success) return read.data;
      const issue = read.error.issues[0]!;
      return refuse([name, ...issue.path], issue.message);
    };
    const textOf = (name: string): string => {
      const text = value[name];
      return typeof text === 'string' ? text : refuse([name], 'must be a text');
    };
    // A message may leave its type out.
    switch (value.type ?? 'message') {
      case 'message':
        if (!isRole(value.role)) return refuse(['role'], 'must be system, developer, user or assistant');
        return { kind: 'message', role: value.role, content: contentOf('content') };
      case 'reasoning':
        return { kind: 'reasoning', text: thoughtOf(value, refuse) };
      case 'function_call':
        return { kind: 'call', id: textOf('call_id'), name: textOf('name'), arguments: textOf('arguments') };
      case 'function_call_output':
        return { kind: 'output', callId: textOf('call_id'), content: contentOf('output') };
      case 'item_reference':
        // A thought may be left out of a history, and most models are not given it; the rest is what was said.
        return textOf('id').startsWith(REASONING_ID) ? { kind: 'nothing' } : refuse(['id'], NOT_KEPT);
      default:
        return refuse(['type'], ITEM);
    }
  });

/** With what the ids of reasoning items begin. */
export const REASONING_ID = 'rs_';

const INPUT = 'must be a text or a list of at least one item';

/** What the input says, and where in it. */
export interface Input {
  readonly messages: readonly Message[];
  readonly origins: readonly MessageOrigin[];
}

/** The field `input`, as messages. */
export const inputField = textOr(listOf(item, INPUT, 1), z.string(INPUT)).transform(
  (input): Input =>
    typeof input === 'string'
      ? { messages: [{ role: 'user', content: input }], origins: [{ field: 'input' }] }
      : messagesOf(input),
);

function isRole(value: unknown): value is Exclude<Role, 'tool'> {
  return value === 'system' || value === 'developer' || value === 'user' || value === 'assistant';
}

/** Its whole text where the client has it, else the summary that it was shown. */
function thoughtOf({ content, summary }: Members, refuse: Refuse): string {
  const listed = Array.isArray(content) && content.length > 0 ? content : (summary ?? []);
  if (!Array.isArray(listed)) return refuse(['summary'], 'must be a list of parts');
  return listed
    .flatMap((one) => (isObject(one) && typeof one.text === 'string' ? one.text : []))
    .join('\n\n');
}

/** What is no text is written as the chat dialect has it, which is what back ends know. */
function readPart(value: Members, refuse: Refuse): ContentPart {
  const { type } = value;
  switch (type) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return typeof value.text === 'string'
        ? { type: 'text', text: value.text }
        : refuse(['text'], 'must be a text');
    case 'refusal':
      return typeof value.refusal === 'string'
        ? { type: 'text', text: value.refusal }
        : refuse(['refusal'], 'must be a text');
    case 'input_image': {
      if (typeof value.image_url !== 'string') return refuse(['image_url'], NO_FILES);
      const detail = typeof value.detail === 'string' ? { detail: value.detail } : {};
      return other('image_url', { image_url: { url: value.image_url, ...detail } });
    }
    case 'input_file': {
      if (typeof value.file_data !== 'string') return refuse(['file_data'], NO_FILES);
      const name = typeof value.filename === 'string' ? { filename: value.filename } : {};
      return other('file', { file: { file_data: value.file_data, ...name } });
    }
    case 'input_audio':
      return isObject(value.input_audio)
        ? other('input_audio', { input_audio: value.input_audio })
        : refuse(['input_audio'], 'must be an object');
    default:
      return refuse(
        ['type'],
        'must be input_text, output_text, refusal, input_image, input_file or input_audio',
      );
  }
}

function other(kind: string, members: object): ContentPart {
  return { type: 'other', kind, value: { type: kind, ...members } };
}

/** An assistant's turn while its items come. */
interface Turn {
  reasoning: string | undefined;
  content: Content | undefined;
  readonly calls: object[];
  /** Where its items stand. */
  readonly places: number[];
}

function messagesOf(items: readonly Item[]): Input {
  const messages: Message[] = [];
  const origins: MessageOrigin[] = [];
  let turn: Turn | undefined;
  const push = (message: Message, origin: MessageOrigin) => {
    messages.push(message);
    origins.push(origin);
  };
  const close = () => {
    // A thought that nothing came of is no turn.
    if (turn && (turn.content !== undefined || turn.calls.length > 0)) push(messageOf(turn), originOf(turn));
    turn = undefined;
  };
  /** The turn that an item goes on with. Once it has called, all before the calls' outputs is one message: back ends insist on it. */
  const open = (): Turn => {
    if (turn && turn.content !== undefined && turn.calls.length === 0) close();
    turn ??= emptyTurn();
    return turn;
  };
  for (const [place, one] of items.entries()) {
    const field = `input[${place}]`;
    switch (one.kind) {
      case 'reasoning': {
        const current = open();
        current.places.push(place);
        current.reasoning =
          current.reasoning === undefined ? one.text : `${current.reasoning}\n\n${one.text}`;
        break;
      }
      case 'call':
        turn ??= emptyTurn();
        turn.places.push(place);
        turn.calls.push({
          id: one.id,
          type: 'function',
          function: { name: one.name, arguments: one.arguments },
        });
        break;
      case 'output':
        close();
        push(
          { role: 'tool', toolCallId: one.callId, content: plain(one.content) },
          { field, parts: `${field}.output` },
        );
        break;
      case 'message': {
        if (one.role !== 'assistant') {
          close();
          push({ role: one.role, content: plain(one.content) }, { field, parts: `${field}.content` });
          break;
        }
        const current = open();
        current.places.push(place);
        current.content =
          current.content === undefined
            ? one.content
            : [...partsOf(current.content), ...partsOf(one.content)];
        break;
      }
      case 'nothing':
        break;
    }
  }
  close();
  return { messages, origins };
}

function emptyTurn(): Turn {
  return { reasoning: undefined, content: undefined, calls: [], places: [] };
}

/** Which of several items is meant of a turn, nobody knows. */
function originOf({ places: [place, ...others] }: Turn): MessageOrigin {
  return { field: others.length > 0 ? 'input' : `input[${place}]` };
}

function messageOf({ reasoning, content, calls }: Turn): Message {
  return {
    role: 'assistant',
    content: content === undefined ? null : plain(content),
    ...(reasoning !== undefined && { reasoning }),
    ...(calls.length > 0 && { toolCalls: calls }),
  };
}

function plain(content: Content): Content {
  return typeof content === 'string' ? content : plainContent(content);
}

function partsOf(content: Content): readonly ContentPart[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}
