// What answers of Anthropic's messages dialect say, streamed or whole: why they ended, what they took, what went wrong.
import type { FinishReason, PartialChoice, Usage } from '../../../core/chat.ts';
import type { GatewayError } from '../../../core/errors.ts';
import { parseJsonText } from '../../json.ts';
import { isObject } from '../../request-fields.ts';

/** Of a thought: its clients give thoughts back only with a signature, and ours are not signed. */
export const UNSIGNED = 'unsigned';

const STOPS: Readonly<Record<FinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
};

/** Why it ended. A stop string that nobody can name is told as the model's own end. */
export function endOf({ reason = 'stop', stop }: Partial<Pick<PartialChoice, 'reason' | 'stop'>>): object {
  return {
    stop_reason: stop === undefined ? STOPS[reason] : 'stop_sequence',
    stop_sequence: stop ?? null,
  };
}

/** What came from a cache is not counted in `input_tokens` there. What is not known is left out. */
export function messagesUsage({ promptTokens, cachedTokens, completionTokens }: Usage): object {
  return {
    input_tokens: promptTokens === undefined ? undefined : Math.max(0, promptTokens - (cachedTokens ?? 0)),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens ?? 0,
    output_tokens: completionTokens,
  };
}

/** The blocks of a whole answer. Arguments that are no JSON object are shown as an empty one: this dialect has no other way. */
export function contentOf({ reasoning, text, toolCalls }: PartialChoice): object[] {
  const content: object[] = [];
  if (reasoning !== '') content.push({ type: 'thinking', thinking: reasoning, signature: UNSIGNED });
  if (text !== '') content.push({ type: 'text', text });
  for (const [number, call] of toolCalls.entries()) {
    const input = objectIn(call.arguments);
    content.push({ type: 'tool_use', id: call.id ?? `toolu_${number}`, name: call.name ?? '', input });
  }
  return content;
}

/** The types that the vendor documents, by the status that goes with them. */
const TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  405: 'invalid_request_error',
  408: 'timeout_error',
  413: 'request_too_large',
  422: 'invalid_request_error',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
};

/** A failure, as the body of an answer and as the last event of a stream. */
export function messagesError({ status, message, wire, param }: GatewayError, id: string): object {
  const type = TYPES[status] ?? 'api_error';
  return {
    type: 'error',
    error: { type, message, code: wire.code, ...(param !== undefined && { param }) },
    request_id: id,
  };
}

function objectIn(text: string): object {
  try {
    const value = parseJsonText(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}
