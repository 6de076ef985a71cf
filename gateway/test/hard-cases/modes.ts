// The forms in which one case is played: streamed, on the route of lines, and as one JSON answer. What a form cannot show
// is not expected of it.
// Pure: no input, no output.
import { type CaseRequest, type Expected, type HardCase, membersOf, requestOf } from './cases.ts';

export type Mode = 'sse' | 'ndjson' | 'json';

const ALL: readonly Mode[] = ['sse', 'ndjson', 'json'];
/** The route of lines has no tools, no choices of one prompt, no probabilities, and no switch for thinking. */
const OF_CHAT: readonly Mode[] = ['sse', 'json'];
/** A whole answer has no time between its parts. */
const STREAMED: readonly Mode[] = ['sse', 'ndjson'];

const MODES: Readonly<Record<string, readonly Mode[]>> = {
  'think-off-json': OF_CHAT,
  'tool-index-zero': OF_CHAT,
  'tool-args-object': OF_CHAT,
  'tool-finish-reason': OF_CHAT,
  'tool-after-think': OF_CHAT,
  'n2-interleaved': OF_CHAT,
  'logprobs-infinite': OF_CHAT,
  'silent-prefill': STREAMED,
  'no-late-burst': STREAMED,
};

/** Of what a whole answer cannot show. */
const NOT_WHOLE = ['lastChunkChoices', 'finishChunks', 'keepAlivesAtLeast', 'maxSilenceMs'];
/** What an answer that failed before it was sent does not have. */
const NOT_FAILED = ['content', 'contentStartsWith', 'finish', 'done', 'status'];

export function modesOf({ id }: HardCase): readonly Mode[] {
  return MODES[id] ?? ALL;
}

/** The case's request in a form. */
export function requestIn(mode: Mode, one: HardCase): CaseRequest {
  const request = requestOf(one);
  const { stream_options: streamOptions, ...members } = membersOf(request);
  switch (mode) {
    case 'sse': {
      const options = streamOptions === undefined ? {} : { stream_options: streamOptions };
      return { ...request, body: { ...members, ...options, stream: true } };
    }
    case 'json':
      return { ...request, body: { ...members, stream: false } };
    case 'ndjson': {
      const { model, messages, stop } = members as {
        readonly model: string;
        readonly messages: readonly { readonly content: string }[];
        readonly stop?: readonly string[];
      };
      const path = `/v1/models/${encodeURIComponent(model)}/generate_stream`;
      return { ...request, path, body: { prompt: messages.at(-1)?.content, ...(stop && { stop }) } };
    }
  }
}

/** What is expected of the case in a form. */
export function expectedIn(mode: Mode, { expected }: HardCase): Expected {
  if (mode === 'sse') return expected;
  if (mode === 'ndjson') return without(expected, ['lastChunkChoices']);
  if (expected.error !== true) return without(expected, NOT_WHOLE);
  return { ...without(expected, [...NOT_WHOLE, ...NOT_FAILED]), statusIn: [502, 503, 504] };
}

function without(expected: Expected, names: readonly string[]): Expected {
  return Object.fromEntries(Object.entries(expected).filter(([name]) => !names.includes(name)));
}
