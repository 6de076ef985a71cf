// One large file over HTTP into a part file: goes on where an earlier try ended, tries again after a break, and gives
// up on a server that is silent or lies. It never checks a hash: only sizes and validators are judged here.
import { setTimeout as sleep } from 'node:timers/promises';
import { ModelStoreError, reasonOf } from '../model-store-error.ts';
import type { PartFile } from '../part-file.ts';
import type { ProgressMeter } from '../progress.ts';
import type { Timings } from '../source-context.ts';
import { type Credentials, type HttpAnswer, type HttpClient, unreachable } from './http-client.ts';
import { createWatchdog } from './watchdog.ts';

const MAX_RETRY_AFTER_MS = 30_000;
/** A try that brought this much counts as a new start: a large file over a bad line may break many times. */
const PROGRESS_BYTES = 1024 * 1024;

export interface DownloadJob {
  readonly http: HttpClient;
  readonly url: URL;
  readonly credentials: Credentials | undefined;
  readonly part: PartFile;
  /** The model, for sentences. */
  readonly title: string;
  /** What the part is a part of. */
  readonly identity: string;
  /** Of the whole file, where it is known. */
  readonly totalBytes: number | undefined;
  /** The most that is taken where the size is not known. */
  readonly limitBytes: number;
  /** Whether a hash is there that will find a wrongly joined file: then a server without validators may be resumed. */
  readonly isChecked: boolean;
  readonly signal: AbortSignal;
  readonly meter: ProgressMeter;
  readonly say: (line: string) => void;
  readonly timings: Timings;
}

/** It may go better the next time. The message is the middle of a sentence. */
class Interrupted extends Error {
  readonly retryAfterMs: number | undefined;
  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Resolves when the part is whole; says whether it was put together from several answers. Throws ModelStoreError:
 * `unreachable` (nothing was downloaded), `broken` (what came is kept), `checksum` (it lied about the size; what came
 * is removed), `no_space`, `store`; and the signal's reason when aborted.
 */
export async function download(job: DownloadJob): Promise<{ resumed: boolean }> {
  const { timings, part } = job;
  let resumed = false;
  let failures = 0;
  for (;;) {
    job.signal.throwIfAborted();
    const before = await part.resume(job.identity);
    if (before && before.bytes === job.totalBytes) return { resumed };
    if (before) resumed = true;
    try {
      await downloadOnce(job, before);
      return { resumed };
    } catch (thrown) {
      job.signal.throwIfAborted();
      if (thrown instanceof ModelStoreError) {
        if (thrown.code === 'checksum') await part.discard();
        throw thrown;
      }
      const have = await part.bytes();
      failures = have - (before?.bytes ?? 0) >= PROGRESS_BYTES ? 1 : failures + 1;
      const pauseMs = timings.retryDelaysMs[failures - 1];
      if (pauseMs === undefined) throw gaveUp(job, have, thrown);
      const retryAfterMs = thrown instanceof Interrupted ? thrown.retryAfterMs : undefined;
      await sleep(Math.max(pauseMs, retryAfterMs ?? 0), undefined, { signal: job.signal }).catch(() => {});
    }
  }
}

function gaveUp(job: DownloadJob, have: number, thrown: unknown): ModelStoreError {
  if (have === 0) return unreachable(job.url.host, thrown);
  return new ModelStoreError(
    'broken',
    `The download of ${job.title} from ${job.url.host} broke off: ${reasonOf(thrown)}. What arrived is kept: start again to go on.`,
    thrown,
  );
}

async function downloadOnce(
  job: DownloadJob,
  before: { bytes: number; etag?: string | undefined } | undefined,
): Promise<void> {
  using watchdog = createWatchdog(
    job.signal,
    job.timings.stallMs,
    () => new Interrupted(`nothing came for ${Math.round(job.timings.stallMs / 1000)} s`),
  );
  // A weak validator says that two answers mean the same, not that their bytes are the same.
  const etag = before?.etag?.startsWith('"') ? before.etag : undefined;
  const canResume = before !== undefined && (etag !== undefined || job.isChecked);
  const headers: Record<string, string> = {};
  if (canResume) headers.range = `bytes=${before.bytes}-`;
  if (canResume && etag) headers['if-range'] = etag;
  const answer = await job.http.request({
    method: 'GET',
    url: job.url,
    credentials: job.credentials,
    headers,
    signal: watchdog.signal,
  });
  answer.body.on('error', () => {});
  try {
    const from = await startOf(job, answer, canResume ? before.bytes : 0);
    if (canResume && from === 0)
      job.say(`${job.title} changed at ${job.url.host}, or it cannot go on: from the start again.`);
    const total = job.totalBytes ?? statedTotal(answer, from);
    await job.part.remember({ identity: job.identity, etag: answer.headers.etag });
    job.meter.begin('downloading', from, total);
    watchdog.touch();
    const bytes = await job.part.append(heard(answer, watchdog), {
      from,
      limitBytes: total ?? job.limitBytes,
      onBytes: (at) => job.meter.at(at),
    });
    job.meter.end();
    if (total !== undefined && bytes < total) throw new Interrupted('it ended early');
  } finally {
    answer.body.destroy();
  }
}

async function* heard(
  answer: HttpAnswer,
  watchdog: { readonly signal: AbortSignal; touch(): void },
): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of answer.body) {
      watchdog.touch();
      yield piece as Uint8Array;
      // Writing it took its time, and that is no silence of the server's.
      watchdog.touch();
    }
  } catch (thrown) {
    watchdog.signal.throwIfAborted();
    throw thrown;
  }
}

/** The byte at which the answer's body begins. Throws where the answer is of no use. */
async function startOf(job: DownloadJob, answer: HttpAnswer, asked: number): Promise<number> {
  const { status, headers } = answer;
  const host = answer.url.host;
  const code = asked === 0 ? 'unreachable' : 'broken';
  if (status === 429 || status === 408 || status >= 500) {
    throw new Interrupted(`${host} answered ${status}`, retryAfterMs(headers['retry-after']));
  }
  if (status === 416 && asked > 0) {
    await job.part.discard();
    throw new Interrupted(`${host} does not know that part of it`);
  }
  if (status !== 200 && status !== 206) {
    throw new ModelStoreError(code, `${host} does not give ${job.title}: it answered ${status}.`);
  }
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity') {
    throw new ModelStoreError(code, `${host} sends ${job.title} in a packed form, which was not asked for.`);
  }
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
  const from = status === 206 ? Number(range?.[1] ?? Number.NaN) : 0;
  if (from !== (status === 206 ? asked : 0)) {
    await job.part.discard();
    throw new Interrupted(`${host} sent another part than the one asked for`);
  }
  const stated = statedTotal(answer, from);
  if (stated !== undefined && job.totalBytes !== undefined && stated !== job.totalBytes) {
    await job.part.discard();
    throw new ModelStoreError(
      'checksum',
      `${host} has another file than ${job.title}: it states ${stated} bytes where ${job.totalBytes} are expected.`,
    );
  }
  return from;
}

function statedTotal(answer: HttpAnswer, from: number): number | undefined {
  const range = /\/(\d+)$/.exec(answer.headers['content-range'] ?? '');
  if (answer.status === 206 && range) return Number(range[1]);
  const length = answer.headers['content-length'];
  return length === undefined ? undefined : from + Number(length);
}

/** Seconds only: a date would trust the server's clock. */
function retryAfterMs(value: string | undefined): number | undefined {
  return value !== undefined && /^\d+$/.test(value)
    ? Math.min(Number(value) * 1000, MAX_RETRY_AFTER_MS)
    : undefined;
}
