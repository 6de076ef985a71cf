// How an answer is to be sampled, in the words that every dialect has for it. What a dialect calls otherwise is its own. Pure.
import type { Sampling } from '../../core/chat.ts';

/** Undefined, each: nothing was asked for. */
export function samplingFields(sampling: Sampling) {
  return {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    seed: sampling.seed,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
  };
}
