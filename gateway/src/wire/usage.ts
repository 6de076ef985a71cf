// Token counts as OpenAI's clients and DeepSeek's read them. What is not known is left out, never 0.
import type { Usage } from '../core/chat.ts';

export function usageBody({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage): object {
  const isTotalKnown = promptTokens !== undefined && completionTokens !== undefined;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: isTotalKnown ? promptTokens + completionTokens : undefined,
    ...(reasoningTokens === undefined
      ? {}
      : { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
    ...(cachedTokens === undefined
      ? {}
      : {
          prompt_tokens_details: { cached_tokens: cachedTokens },
          prompt_cache_hit_tokens: cachedTokens,
          prompt_cache_miss_tokens: promptTokens === undefined ? undefined : promptTokens - cachedTokens,
        }),
  };
}
