// Reads an answer of llama.cpp's own dialect, which its server gives where it fills a gap: pieces of `content`, the last of
// them with `stop`.
import type { Usage } from '../../core/chat.ts';
import { tokenCount } from './answer-parts.ts';
import { PieceAnswer, type PieceDialect } from './piece-answer.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import { type Members, membersOf } from './upstream-json.ts';

const INFILL: PieceDialect = {
  say: ({ content, model }, parts) => {
    if (typeof content !== 'string' || content === '') return;
    parts.start(model);
    parts.choice(0).text(content);
  },
  // Its older versions say it by a field for each way to end.
  endOf: ({ stop, stop_type, stopped_limit }) => {
    if (stop !== true) return undefined;
    return stop_type === 'limit' || stopped_limit === true ? 'length' : 'stop';
  },
  stopOf: ({ stopping_word }) => stopping_word,
  usageOf,
};

export function infillAnswer(options: AnswerOptions): UpstreamAnswer {
  return new PieceAnswer(INFILL, options);
}

function usageOf({ tokens_evaluated, tokens_predicted, timings }: Members): Usage {
  return {
    promptTokens: tokenCount(tokens_evaluated),
    cachedTokens: tokenCount(membersOf(timings).cache_n),
    completionTokens: tokenCount(tokens_predicted),
  };
}
