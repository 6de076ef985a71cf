// An answer that the client itself has begun: the last message is an assistant's, and is to be gone on with. vLLM and SGLang
// ask for that by `continue_final_message`, DeepSeek by `prefix` on the message.
// It must never guess: an assistant's message at the end without either is a turn like any other.
import type { ContentPart, Message, PartialAnswer } from '../core/chat.ts';
import { GatewayError } from '../core/errors.ts';
import { booleanField } from './request-fields.ts';

/** To be spread into a dialect's schema. */
export const prefillFields = {
  continue_final_message: booleanField,
  add_generation_prompt: booleanField,
};

/** A message, and whether the client marked it as a beginning. */
export interface MarkedMessage {
  readonly message: Message;
  readonly isPrefix: boolean;
}

interface PrefillFields {
  readonly messages: readonly MarkedMessage[];
  readonly continue_final_message?: boolean | undefined;
  readonly add_generation_prompt?: boolean | undefined;
}

export interface Prefilled {
  /** Without the beginning. */
  readonly messages: readonly Message[];
  readonly continueFrom?: PartialAnswer | undefined;
  /** What of the fields says something else, for back ends that know it. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Throws `invalid_request` where what is to be gone on with is no beginning of an answer. */
export function prefillOf(fields: PrefillFields): Prefilled {
  const { continue_final_message: continues = false, add_generation_prompt: addsPrompt } = fields;
  const messages = fields.messages.map(({ message }) => message);
  const last = messages.length - 1;
  const marked = fields.messages.findIndex(({ isPrefix }) => isPrefix);
  if (marked >= 0 && (marked < last || messages[last]?.role !== 'assistant')) {
    throw refusal(`messages[${marked}].prefix`, "is for the last message, and only if it is an assistant's");
  }
  if (!continues && marked < 0) {
    return { messages, extra: addsPrompt === undefined ? {} : { add_generation_prompt: addsPrompt } };
  }
  if (addsPrompt === true) {
    throw refusal(
      'add_generation_prompt',
      'begins a new message, so it cannot be true where the last one is gone on with',
    );
  }
  const begun = messages.pop()!;
  if (begun.role !== 'assistant') {
    throw refusal('continue_final_message', "is of use only where the last message is an assistant's");
  }
  return { messages, continueFrom: answerOf(begun, last), extra: {} };
}

/** Undefined: nothing was said yet. */
function answerOf(
  { content, reasoning = '', toolCalls = [] }: Message,
  place: number,
): PartialAnswer | undefined {
  if (toolCalls.length > 0) {
    throw refusal(
      `messages[${place}].tool_calls`,
      'cannot be gone on with: leave them out of the last message',
    );
  }
  const text = typeof content === 'string' ? content : textOf(content ?? [], place);
  if (text === '' && reasoning === '') return undefined;
  const choice = { text, reasoning, toolCalls: [], pieces: 0, reasoningPieces: 0, reason: undefined };
  return { speaker: undefined, choices: [choice], usage: undefined };
}

function textOf(parts: readonly ContentPart[], place: number): string {
  return parts
    .map((part, index) => {
      if (part.type === 'text') return part.text;
      throw refusal(
        `messages[${place}].content[${index}]`,
        'must be a text in a message that is to be gone on with',
      );
    })
    .join('');
}

function refusal(param: string, message: string): GatewayError {
  return new GatewayError('invalid_request', `${param} ${message}.`, { param });
}
