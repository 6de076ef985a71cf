// Requests to a model, in any dialect: understand, compute, write, tell the observers. One path for all of them; an answer
// belongs to its connection, or is kept for whoever comes again (resume/).
import { toGatewayError } from '../../core/errors.ts';
import type { RequestRecord } from '../../core/observer.ts';
import type { Answer } from '../../pipeline/pipeline.ts';
import { parseJson } from '../../wire/json.ts';
import { answerHeaders, streamHeaders } from '../answering/answer-headers.ts';
import { readStream, readWhole } from '../answering/answer-reader.ts';
import { compute } from '../answering/compute.ts';
import { ConnectionSink } from '../answering/connection-sink.ts';
import { endStory, newStory } from '../answering/story.ts';
import { writeWhole } from '../answering/whole-writer.ts';
import type { Asked, Call } from '../asking/asked.ts';
import type { BodyLimits } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';
import { type KeptReadingOptions, showKept } from '../resume/kept-reading.ts';
import { type Taken, type TakeOptions, take } from './take.ts';

export interface GenerationOptions extends TakeOptions, KeptReadingOptions {
  readonly bodyLimits: BodyLimits;
}

export class Generation {
  readonly #options: GenerationOptions;

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  /** Answers the request, whatever happens; never rejects. */
  async handle(call: Call<Exchange>): Promise<void> {
    const { exchange } = call;
    const record = newStory(call, this.#options);
    // What it may still ask of its back ends, it may until it has ended, also if a reload takes them away.
    const letGo = call.world.hold?.();
    let failure: unknown;
    const fail = (thrown: unknown) => {
      if (failure !== undefined) return;
      failure = thrown;
      exchange.sendError(toGatewayError(thrown), answerHeaders(record));
    };
    try {
      const taken = await this.#take(call, record).catch(fail);
      if (taken && 'kept' in taken) {
        return await showKept(exchange, taken.kept, taken.coming, this.#options);
      }
      if (taken) await this.#answer(taken.asked).catch(fail);
      await exchange.response.taken(this.#options.slowReaderLimitMs)?.catch(fail);
      endStory(record, this.#options, failure);
    } finally {
      letGo?.();
    }
  }

  /** A step of its own, so that the body's bytes are gone while the answer is made. */
  async #take(call: Call<Exchange>, record: RequestRecord): Promise<Taken<Exchange>> {
    const bytes = await call.exchange.readBody(this.#options.bodyLimits);
    const body = { bytes: () => bytes, json: () => parseJson(bytes) };
    return take(call, record, body, this.#options);
  }

  /** An answer of its own connection: it ends when its client leaves. */
  #answer(asked: Asked<Exchange>): Promise<void> {
    const { response } = asked.exchange;
    return compute(asked, this.#options, async (answer) => {
      const unwatch = response.watch((reason) => answer.cancel(reason));
      try {
        if (asked.request.stream) await this.#stream(asked, answer);
        else await this.#whole(asked, answer);
      } finally {
        unwatch();
      }
    });
  }

  #stream(asked: Asked<Exchange>, answer: Answer): Promise<void> {
    const { exchange, dialect, record, request, model, meta } = asked;
    const codec = dialect.stream(meta, request);
    const sink = new ConnectionSink({
      response: exchange.response,
      sendHead: () =>
        exchange.begin(200, { ...answerHeaders(record, model), ...streamHeaders(codec.contentType) }),
      slowReaderLimitMs: this.#options.slowReaderLimitMs,
    });
    return readStream(asked, answer, codec, sink, this.#options);
  }

  #whole(asked: Asked<Exchange>, answer: Answer): Promise<void> {
    return writeWhole(asked.exchange, {
      whole: readWhole(asked, answer),
      headers: () => answerHeaders(asked.record, asked.model),
      keepAliveMs: this.#options.keepAliveMs,
    });
  }
}
