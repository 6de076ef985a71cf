// The compute of an answer that is kept. Its story ends with it, and not with a connection; so do what it takes of its key's
// limits, and its hold on the back ends that it began with.
import type { StreamCodec } from '../../wire/dialect.ts';
import { answerHeaders, streamHeaders } from '../answering/answer-headers.ts';
import { readStream, readWhole } from '../answering/answer-reader.ts';
import { type ComputeOptions, compute } from '../answering/compute.ts';
import { endStory, type StoryOptions } from '../answering/story.ts';
import { JSON_TYPE } from '../answering/whole-writer.ts';
import type { Asked } from '../asking/asked.ts';
import type { Guise, KeptAnswer } from './kept-answer.ts';
import type { KeptAnswers, RequestName } from './kept-answers.ts';
import { KeptSink } from './kept-sink.ts';

export interface KeptComputeOptions extends ComputeOptions, StoryOptions {
  readonly kept: KeptAnswers;
  /** Silence before a keep-alive, in ms. */
  readonly keepAliveMs: number;
}

/** Begins at once. Undefined: there is no room to keep it, and nothing was begun. */
export function beginKept(
  asked: Asked,
  name: RequestName | undefined,
  options: KeptComputeOptions,
): KeptAnswer | undefined {
  const { dialect, key, request, meta } = asked;
  const codec = request.stream ? dialect.stream(meta, request) : undefined;
  const guise = guiseOf(asked, codec?.contentType);
  const kept = options.kept.begin(key, guise, name, (kept) => computeInto(kept, asked, codec, options));
  if (!kept) options.observer.resumed?.('not_kept');
  return kept;
}

/**
 * Made apart from what computes, and of the few things that it needs: it stays for as long as the answer is kept, and what its
 * functions see would stay with it, the conversation and the connection that it came on included.
 */
function guiseOf(
  { dialect, record, request, model: { speaker }, isResumable }: Asked,
  contentType: string | undefined,
): Guise {
  return {
    isStream: request.stream,
    contentType: contentType ?? JSON_TYPE,
    isNumbered: isResumable,
    headers: () => ({
      ...answerHeaders(record, { speaker }),
      ...(contentType !== undefined && streamHeaders(contentType)),
    }),
    errorHeaders: () => answerHeaders(record),
    dialect,
  };
}

async function computeInto(
  kept: KeptAnswer,
  asked: Asked,
  codec: StreamCodec | undefined,
  options: KeptComputeOptions,
): Promise<void> {
  const letGo = asked.world.hold?.();
  let failure: unknown;
  try {
    await compute(asked, options, async (answer) => {
      const { signal } = kept;
      const stop = () => answer.cancel(signal.reason);
      signal.addEventListener('abort', stop);
      try {
        if (signal.aborted) stop();
        if (codec) await readStream(asked, answer, codec, new KeptSink(kept, codec.contentType), options);
        else kept.add([await readWhole(asked, answer)], true);
      } finally {
        // The signal stays with what is kept, and must not hold the rest.
        signal.removeEventListener('abort', stop);
      }
    });
  } catch (thrown) {
    failure = thrown;
    throw thrown;
  } finally {
    letGo?.();
    endStory(asked.record, options, failure);
  }
}
