// In which of its dialects a server is asked, and who reads its answer.
// Pure: it opens no connection.
import type { ChatRequest } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { infillAnswer } from './infill-answer.ts';
import { infillRequest } from './infill-request.ts';
import { ollamaAnswer } from './ollama-answer.ts';
import { ollamaRequest } from './ollama-request.ts';
import { OpenAiAnswer } from './openai-answer.ts';
import { openAiRequest, type UpstreamText } from './openai-request.ts';
import type { AnswerOptions, UpstreamAnswer } from './upstream-answer.ts';
import type { Traits } from './vendors.ts';

export interface UpstreamCall extends UpstreamText {
  /** Reads what comes of it. */
  readonly answer: (options: AnswerOptions) => UpstreamAnswer;
}

export interface UpstreamServer {
  readonly traits: Traits;
  /** Of its API, without a slash at its end. */
  readonly basePath: string;
  /** Tokens, where it would cut a longer prompt in silence. */
  readonly contextWindow?: number | undefined;
}

/**
 * `prefix`: the text to go on from, where the answer was begun. Throws `invalid_request` for what the server cannot be asked,
 * and `context_length_exceeded` for what it would cut.
 */
export function upstreamCall(
  request: ChatRequest,
  { traits, basePath, contextWindow }: UpstreamServer,
  prefix: string | undefined,
): UpstreamCall {
  const { prompt } = request;
  // A server's own API is beside the one that it shares with others.
  const root = basePath.replace(/\/v1$/, '');
  const beside = ({ path, body }: UpstreamText): UpstreamText => ({ path: root + path, body });
  if (prompt.kind === 'text' && prompt.suffix !== undefined) {
    if (traits.infill === undefined) throw fillsNoGaps();
    if (traits.infill.way === 'llama.cpp') {
      const { text, suffix } = prompt;
      return { ...beside(infillRequest(request, { text, suffix }, prefix)), answer: infillAnswer };
    }
  }
  if (traits.protocol === 'ollama') {
    return { ...beside(ollamaRequest(request, contextWindow, prefix)), answer: ollamaAnswer };
  }
  return {
    ...openAiRequest(request, traits, basePath, prefix),
    answer: (options) => new OpenAiAnswer(options),
  };
}

function fillsNoGaps(): GatewayError {
  return new GatewayError(
    'invalid_request',
    'The back end of this model fills no gaps, or nobody knows how it is asked to: leave suffix out, or use another model.',
    { param: 'suffix' },
  );
}
