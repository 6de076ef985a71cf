// The forms in which one case is played: in each dialect, streamed and as one JSON answer. What a form cannot show is not
// expected of it.
// Pure: no input, no output.
import { type CaseRequest, type Expected, type HardCase, membersOf } from './cases.ts';

export type Mode = 'sse' | 'ndjson' | 'json' | 'responses' | 'responses-json' | 'messages' | 'messages-json';

const ALL: readonly Mode[] = [
  'sse',
  'ndjson',
  'json',
  'responses',
  'responses-json',
  'messages',
  'messages-json',
];
/** The route of lines has no tools. */
const WITH_TOOLS: readonly Mode[] = ALL.filter((mode) => mode !== 'ndjson');
/** Nobody else has choices of one prompt, probabilities in this form, or this switch for thinking. */
const OF_CHAT: readonly Mode[] = ['sse', 'json'];
/** Responses have no stop strings. */
const WITH_STOPS: readonly Mode[] = ALL.filter((mode) => !mode.startsWith('responses'));
/** A whole answer has no time between its parts. */
export const STREAMED: readonly Mode[] = ['sse', 'ndjson', 'responses', 'messages'];

const MODES: Readonly<Record<string, readonly Mode[]>> = {
  'think-off-json': OF_CHAT,
  'tool-index-zero': WITH_TOOLS,
  'tool-args-object': WITH_TOOLS,
  'tool-finish-reason': WITH_TOOLS,
  'tool-after-think': WITH_TOOLS,
  'stop-straddles': WITH_STOPS,
  'n2-interleaved': OF_CHAT,
  'logprobs-infinite': OF_CHAT,
  'silent-prefill': STREAMED,
  'no-late-burst': STREAMED,
};

/** Those whose answers are of another shape altogether. */
export const OTHER_DIALECTS: readonly Mode[] = ALL.filter((mode) => /^(responses|messages)/.test(mode));

/** Of what only a stream of chat completions shows. */
const OF_CHUNKS = ['lastChunkChoices'];
/** Of what a whole answer cannot show. */
const NOT_WHOLE = ['lastChunkChoices', 'finishChunks', 'keepAlivesAtLeast', 'maxSilenceMs'];
/** What an answer that failed before it was sent does not have. */
const NOT_FAILED = ['content', 'contentStartsWith', 'finish', 'done', 'status'];

export function modesOf({ id }: HardCase): readonly Mode[] {
  return MODES[id] ?? ALL;
}

/** What a case's request may have. */
interface Members {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly tools?: readonly { readonly function: FunctionTool }[];
  readonly stop?: readonly string[];
  readonly stream_options?: unknown;
}

interface FunctionTool {
  readonly name: string;
  readonly parameters: unknown;
}

/** A request of chat completions in a form. */
export function requestIn(mode: Mode, request: CaseRequest): CaseRequest {
  const members = membersOf(request) as unknown as Members;
  const { stream_options: _ofStreams, ...whole } = members;
  const { model, messages, tools, stop } = members;
  const stream = STREAMED.includes(mode);
  switch (mode) {
    case 'sse':
      return { ...request, body: { ...members, stream } };
    case 'json':
      return { ...request, body: { ...whole, stream } };
    case 'ndjson': {
      const path = `/v1/models/${encodeURIComponent(model)}/generate_stream`;
      return { ...request, path, body: { prompt: messages.at(-1)?.content, ...(stop && { stop }) } };
    }
    case 'responses':
    case 'responses-json': {
      const flat = tools?.map(({ function: tool }) => ({ type: 'function', ...tool }));
      return { ...request, path: '/v1/responses', body: { model, input: messages, tools: flat, stream } };
    }
    case 'messages':
    case 'messages-json': {
      const theirs = tools?.map(({ function: { name, parameters } }) => ({ name, input_schema: parameters }));
      const body = { model, max_tokens: 4_096, messages, tools: theirs, stop_sequences: stop, stream };
      return { ...request, path: '/v1/messages', body };
    }
  }
}

/** What is expected of the case in a form. */
export function expectedIn(mode: Mode, { expected }: HardCase): Expected {
  if (mode === 'sse') return expected;
  if (STREAMED.includes(mode)) return without(expected, OF_CHUNKS);
  if (expected.error !== true) return without(expected, NOT_WHOLE);
  return { ...without(expected, [...NOT_WHOLE, ...NOT_FAILED]), statusIn: [502, 503, 504] };
}

function without(expected: Expected, names: readonly string[]): Expected {
  return Object.fromEntries(Object.entries(expected).filter(([name]) => !names.includes(name)));
}
