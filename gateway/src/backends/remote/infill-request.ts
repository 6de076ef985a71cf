// A gap to fill as llama.cpp's server has it, `/infill`: its text completions pass over a suffix. The text goes out in its own
// words; the client's unknown fields travel untouched.
// Pure: it makes text.
import type { ChatRequest } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { tokensLeft, type UpstreamText } from './openai-request.ts';
import { samplingFields } from './sampling-fields.ts';

/** `prefix`: the text to go on from, where the answer was begun. Throws `invalid_request` for what it cannot express. */
export function infillRequest(
  request: ChatRequest,
  gap: { readonly text: string; readonly suffix: string },
  prefix: string | undefined,
): UpstreamText {
  if (request.logprobs !== undefined) {
    const message =
      'The back end of this model tells no probabilities where it fills a gap; leave logprobs out.';
    throw new GatewayError('invalid_request', message, { param: 'logprobs' });
  }
  const { sampling, stop } = request;
  const body = {
    model: request.model,
    input_prefix: gap.text + (prefix ?? ''),
    input_suffix: gap.suffix,
    n_predict: tokensLeft(request),
    ...samplingFields(sampling),
    repeat_penalty: sampling.repetitionPenalty,
    stop: stop.length > 0 ? stop : undefined,
    ...request.extra,
    stream: request.isWhole !== true,
  };
  return { path: '/infill', body: JSON.stringify(body) };
}
