// A model that already lies on this machine or on a mounted share: copied, so that the store stays whole without it.
// The original is only ever read.
import { stat } from 'node:fs/promises';
import type { Source } from '../catalogue.ts';
import { ModelStoreError, reasonOf } from '../model-store-error.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { filePieces } from './file-pieces.ts';
import { createWatchdog } from './watchdog.ts';

/** Throws ModelStoreError `unreachable`, `broken`, `no_space`, `store`, and the signal's reason when aborted. */
export async function fetchFromFile(
  source: Extract<Source, { kind: 'file' }>,
  context: SourceContext,
): Promise<Fetched> {
  const { part, meter, timings } = context;
  const bytes = await sizeWithin(source.path, context);
  await context.begin(bytes, bytes, source.path);
  using watchdog = createWatchdog(
    context.signal,
    timings.stallMs,
    () => new ModelStoreError('broken', `${source.path} gives no more bytes.`),
  );
  await part.remember({ identity: `file ${source.path}` });
  meter.begin('downloading', 0, bytes);
  try {
    await part.append(filePieces(source.path, watchdog.signal), {
      from: 0,
      limitBytes: bytes,
      onBytes(at) {
        watchdog.touch();
        meter.at(at);
      },
    });
  } catch (thrown) {
    watchdog.signal.throwIfAborted();
    if (thrown instanceof ModelStoreError) throw thrown;
    throw new ModelStoreError('broken', `${source.path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
  meter.end();
  return { from: source.path, resumed: false };
}

/** A share whose server is gone holds `stat` for minutes. */
async function sizeWithin(path: string, context: SourceContext): Promise<number> {
  const { reachMs } = context.timings;
  using watchdog = createWatchdog(
    context.signal,
    reachMs,
    () => new ModelStoreError('unreachable', `${path} did not answer within ${reachMs / 1000} s.`),
  );
  const aborted = Promise.withResolvers<never>();
  watchdog.signal.addEventListener('abort', () => aborted.reject(watchdog.signal.reason), { once: true });
  try {
    const found = await Promise.race([stat(path), aborted.promise]);
    if (found.isFile()) return found.size;
  } catch (thrown) {
    watchdog.signal.throwIfAborted();
    throw new ModelStoreError('unreachable', `${path} cannot be read: ${reasonOf(thrown)}.`, thrown);
  }
  throw new ModelStoreError('unreachable', `${path} is not a file.`);
}
