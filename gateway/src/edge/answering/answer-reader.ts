// Reads an answer in the making to its end, as its dialect tells it: as a stream, or as one JSON; and its failure in the names that
// its client knows.
import type { Clock } from '../../core/clock.ts';
import { type GatewayError, toGatewayError } from '../../core/errors.ts';
import { AnswerFold } from '../../pipeline/partial.ts';
import type { Answer } from '../../pipeline/pipeline.ts';
import type { StreamCodec } from '../../wire/dialect.ts';
import { retoldIn } from '../../wire/field-names.ts';
import type { Asked } from '../asking/asked.ts';
import { reportOf } from './answer-headers.ts';
import { Pacer } from './pacer.ts';
import { type TextSink, writeStream } from './stream-writer.ts';

export interface ReadStreamOptions {
  readonly clock: Clock;
  /** Silence before a keep-alive, in ms. */
  readonly keepAliveMs: number;
}

/** Rejects as `writeStream` does. */
export function readStream(
  asked: Asked,
  { log }: Answer,
  codec: StreamCodec,
  sink: TextSink,
  { clock, keepAliveMs }: ReadStreamOptions,
): Promise<void> {
  const { record, model, wantsReport } = asked;
  return writeStream(model.isPaced ? new Pacer(log, clock) : log, {
    sink,
    codec,
    report: () => (wantsReport ? reportOf(record) : undefined),
    retold: (thrown) => retold(asked, thrown),
    clock,
    keepAliveMs,
  });
}

/** One line of JSON. Rejects with what the answer failed by. */
export async function readWhole(asked: Asked, { log }: Answer): Promise<string> {
  const { dialect, record, request, meta, wantsReport } = asked;
  const fold = new AnswerFold();
  try {
    for await (const event of log.read()) {
      fold.add(event);
      // An answer that was asked for whole comes all at once.
      for (let next = log.takeReady(); next; next = log.takeReady()) fold.add(next);
    }
  } catch (thrown) {
    throw retold(asked, thrown);
  }
  const whole = dialect.whole(fold.answer(), meta, request, wantsReport ? reportOf(record) : undefined);
  return `${JSON.stringify(whole)}\n`;
}

function retold({ record, request }: Asked, thrown: unknown): GatewayError {
  return retoldIn(request.names, toGatewayError(thrown), record.degraded.includes('trimmed'));
}
