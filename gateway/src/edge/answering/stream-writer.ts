// Writes one answer as its dialect has it: the only asynchronous hop between a model's word and who takes its text.
// Silence is filled, and the compute is held up by nobody.
import type { TokenEvent } from '../../core/chat.ts';
import type { Clock } from '../../core/clock.ts';
import type { GatewayError } from '../../core/errors.ts';
import type { StreamLog } from '../../pipeline/stream-log.ts';
import type { Report, StreamCodec } from '../../wire/dialect.ts';
import { Silence } from './silence.ts';

/** UTF-16 units: no single write is made longer than this by joining events. */
const MOST_AT_ONCE = 16 * 1024;

/** Where an answer's events come from: its log, or what stands before it. */
export type EventSource = Pick<StreamLog, 'read' | 'takeReady'>;

/** Who takes a stream's text: a connection, or what keeps it. */
export interface TextSink {
  /** Something was taken already: a failure can only be told by more text. */
  readonly hasBegun: boolean;
  /** Takes the text at once. If it wants no more for now, the promise resolves when it does; it rejects if it never will. */
  write(text: string): Promise<void> | undefined;
  /** Nothing came for a while: fills the silence in the codec's way, if somebody hears it. */
  fillSilence(codec: StreamCodec): void;
  /** Takes the last text. */
  end(text: string): void;
}

export interface StreamWriterOptions {
  readonly sink: TextSink;
  readonly codec: StreamCodec;
  readonly report: () => Report | undefined;
  /** What the answer failed by, as its client is told of it. */
  readonly retold: (thrown: unknown) => GatewayError;
  readonly clock: Clock;
  /** Silence before a keep-alive, in ms. */
  readonly keepAliveMs: number;
}

/**
 * Resolves when the last text was taken. Rejects with what went wrong: if nothing was written before, it is the caller's to
 * tell; else it has been told in the stream.
 */
export async function writeStream(source: EventSource, options: StreamWriterOptions): Promise<void> {
  const { sink, codec, report, retold, clock, keepAliveMs } = options;
  const nextFor = (unsent: string) => (unsent.length < MOST_AT_ONCE ? source.takeReady() : undefined);
  const silence = new Silence(clock, keepAliveMs, () => sink.fillSilence(codec));
  let text = '';
  try {
    for await (const first of source.read()) {
      // What opens the answer waits for its first word: what fails before that still gets its true status.
      let hasWord = false;
      // Nothing waits for more, but what has come together leaves together: a write costs more than all else here.
      for (let event: TokenEvent | undefined = first; event; event = nextFor(text)) {
        const piece = codec.event(event);
        text += piece;
        hasWord ||= piece !== '' && event.type !== 'start';
      }
      if (!hasWord) continue;
      silence.heard();
      const isTaken = sink.write(text);
      text = '';
      if (isTaken) await isTaken;
    }
    sink.end(text + codec.end(report()));
  } catch (thrown) {
    const error = retold(thrown);
    if (sink.hasBegun) sink.end(codec.error(error));
    throw error;
  } finally {
    silence.stop();
  }
}
