// Token counts as OpenAI's clients and DeepSeek's read them.
// What is not known is left out: it must never be shown as 0, and no sum is made of a part that is unknown.
import type { Usage } from '../core/chat.ts';

/** Members that are undefined are those that JSON leaves out. */
export function usageBody({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage): object {
  const isTotalKnown = promptTokens !== undefined && completionTokens !== undefined;
  const missed =
    promptTokens === undefined || cachedTokens === undefined
      ? undefined
      : Math.max(0, promptTokens - cachedTokens);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: isTotalKnown ? promptTokens + completionTokens : undefined,
    completion_tokens_details:
      reasoningTokens === undefined ? undefined : { reasoning_tokens: reasoningTokens },
    prompt_tokens_details: cachedTokens === undefined ? undefined : { cached_tokens: cachedTokens },
    prompt_cache_hit_tokens: cachedTokens,
    prompt_cache_miss_tokens: missed,
  };
}
