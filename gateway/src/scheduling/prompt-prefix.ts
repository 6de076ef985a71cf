// How a prompt begins, as hashes of its blocks: each over all that came before it, so two prompts with the same hash begin
// alike, whatever follows. In bytes of the conversation's text and not in tokens, for the gateway has no tokenizer for every
// model.
// Pure.
import type { ChatRequest } from '../core/chat.ts';
import type { PromptPrefix } from '../core/ticket.ts';

/**
 * Works nothing out before it is asked for it. `seed`: whose it is, and for which model; prompts with other seeds have
 * nothing in common.
 */
export function promptPrefix(_request: Pick<ChatRequest, 'prompt' | 'tools'>, _seed: string): PromptPrefix {
  return { blocks: [], whole: 0 };
}
