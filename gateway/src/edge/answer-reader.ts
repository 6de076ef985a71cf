// Reads an answer in the making to its end, as its dialect tells it: as a stream, or as one JSON.
import type { Clock } from '../core/clock.ts';
import { AnswerFold } from '../pipeline/partial.ts';
import type { Answer } from '../pipeline/pipeline.ts';
import type { StreamCodec } from '../wire/dialect.ts';
import { reportOf } from './answer-headers.ts';
import type { Asked } from './asked.ts';
import { Pacer } from './pacer.ts';
import { type TextSink, writeStream } from './stream-writer.ts';

export interface ReadStreamOptions {
  readonly clock: Clock;
  /** Silence before a keep-alive, in ms. */
  readonly keepAliveMs: number;
}

/** Rejects as `writeStream` does. */
export function readStream(
  { record, model, wantsReport }: Asked,
  { log }: Answer,
  codec: StreamCodec,
  sink: TextSink,
  { clock, keepAliveMs }: ReadStreamOptions,
): Promise<void> {
  return writeStream(model.isPaced ? new Pacer(log, clock) : log, {
    sink,
    codec,
    report: () => (wantsReport ? reportOf(record) : undefined),
    keepAliveMs,
  });
}

/** One line of JSON. Rejects with what the answer failed by. */
export async function readWhole(
  { dialect, record, request, meta, wantsReport }: Asked,
  { log }: Answer,
): Promise<string> {
  const fold = new AnswerFold();
  for await (const event of log.read()) fold.add(event);
  const whole = dialect.whole(fold.answer(), meta, request, wantsReport ? reportOf(record) : undefined);
  return `${JSON.stringify(whole)}\n`;
}
