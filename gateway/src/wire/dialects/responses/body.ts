// The response object of the Responses dialect and the items of its output, as its stream and its whole answer both write them.
// An item's id is made of the answer's id and the item's place, so both ways give the same. Pure.
import type { FinishReason, TokenLogprob, Usage } from '../../../core/chat.ts';
import type { GatewayError } from '../../../core/errors.ts';
import type { AnswerMeta, ParsedRequest, Report } from '../../dialect.ts';
import { tokenLogprobs } from '../../logprobs.ts';
import { REASONING_ID } from './input.ts';

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

/** A thought is given as its text, or as its summary where the client asked for one: it is the same text. */
export type ThoughtForm = 'reasoning_text' | 'summary_text';

const ID_PREFIX = { reasoning: REASONING_ID, message: 'msg_', call: 'fc_' };

export function itemId(kind: keyof typeof ID_PREFIX, { id }: AnswerMeta, place: number): string {
  return `${ID_PREFIX[kind]}${id}_${place}`;
}

/** Clients that can show only a summary ask for it. */
export function thoughtForm({ echo }: ParsedRequest): ThoughtForm {
  const { summary } = (echo?.reasoning ?? {}) as { readonly summary?: string | null };
  return (summary ?? 'none') === 'none' ? 'reasoning_text' : 'summary_text';
}

export function thoughtPart(form: ThoughtForm, text: string): object {
  return { type: form, text };
}

export function textPart(text: string, logprobs: readonly TokenLogprob[] = []): object {
  return { type: 'output_text', annotations: [], logprobs: tokenLogprobs(logprobs), text };
}

/** `parts`: none while it is still empty. */
export function reasoningItem(
  id: string,
  status: ItemStatus,
  form: ThoughtForm,
  parts: readonly object[],
): object {
  const isSummary = form === 'summary_text';
  return { id, type: 'reasoning', status, summary: isSummary ? parts : [], content: isSummary ? [] : parts };
}

export function messageItem(id: string, status: ItemStatus, parts: readonly object[]): object {
  return { id, type: 'message', status, role: 'assistant', content: parts };
}

/** A call that came without an id of its own is known by its item's. */
export function callItem(
  id: string,
  status: ItemStatus,
  call: { readonly id: string | undefined; readonly name: string | undefined; readonly arguments: string },
): object {
  return {
    id,
    type: 'function_call',
    status,
    call_id: call.id ?? id,
    name: call.name ?? '',
    arguments: call.arguments,
  };
}

/** The members that are the same as long as the answer lasts. */
export function responseHead({ id, created, model }: AnswerMeta, { echo }: ParsedRequest): object {
  return { id: `resp_${id}`, object: 'response', created_at: created, model, ...echo };
}

/** Whether the answer was cut: then its last item is incomplete, and so is the response. */
export function isCut(reason: FinishReason | undefined): boolean {
  return reason === 'length' || reason === 'content_filter';
}

/** The members that tell how far it came; nothing ended yet: in progress. */
export function responseState(
  output: readonly object[],
  end?:
    | {
        readonly reason: FinishReason | undefined;
        readonly usage: Usage;
        readonly report: Report | undefined;
      }
    | { readonly error: GatewayError },
): object {
  if (end === undefined) return stateOf('in_progress', output);
  if ('error' in end) {
    const { message, wire } = end.error;
    return { ...stateOf('failed', output), error: { code: wire.code, message } };
  }
  const { reason, usage, report } = end;
  return {
    ...stateOf(isCut(reason) ? 'incomplete' : 'completed', output),
    ...(isCut(reason) && {
      incomplete_details: { reason: reason === 'length' ? 'max_output_tokens' : reason },
    }),
    usage: usageOf(usage),
    ...(report && { sluice: report }),
  };
}

function stateOf(status: string, output: readonly object[]): object {
  return { status, error: null, incomplete_details: null, output, usage: null };
}

/**
 * Clients add up all of these without a look whether they are there. So what is not known of the two sums makes the whole
 * unknown, and of the parts counts as none.
 */
function usageOf({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage): object | null {
  if (promptTokens === undefined || completionTokens === undefined) return null;
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens ?? 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens ?? 0 },
    total_tokens: promptTokens + completionTokens,
  };
}
