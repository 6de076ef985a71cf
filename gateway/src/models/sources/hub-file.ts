// The second half of every hub: once it has said what a file is, the bytes are fetched, judged and resumed in one way.
// It knows no hub's addresses or headers: those are in the file of each.
import { ModelStoreError } from '../model-store-error.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import { download } from './download.ts';
import type { Credentials, HttpClient } from './http-client.ts';

/** What a hub says of a file. */
export interface HubFile {
  readonly url: URL;
  /** Names the bytes as exactly as the hub does: parts of two identities are never joined. */
  readonly identity: string;
  readonly totalBytes?: number | undefined;
  /** Hex. */
  readonly sha256?: string | undefined;
}

export interface HubDownload {
  readonly http: HttpClient;
  /** For sentences. */
  readonly host: string;
  readonly from: string;
  readonly file: HubFile;
  readonly credentials: Credentials | undefined;
}

/** Throws ModelStoreError as `download` does, and the signal's reason when aborted. */
export async function fetchHubFile(hub: HubDownload, context: SourceContext): Promise<Fetched> {
  const { entry } = context;
  const { host, file, from } = hub;
  if (file.sha256 && context.sha256 && file.sha256 !== context.sha256) {
    throw new ModelStoreError(
      'checksum',
      `${host} has another file under the name of ${entry.title} than the one that is wanted: its checksum differs.`,
    );
  }
  if (!file.sha256 && !context.sha256) {
    context.say(`${host} states no checksum for ${entry.title}: the one of what arrives will be recorded.`);
  }
  const totalBytes = entry.bytes ?? file.totalBytes;
  const wanted = totalBytes ?? entry.aboutBytes;
  const have = (await context.part.resume(file.identity))?.bytes ?? 0;
  await context.begin(wanted, Math.max(0, wanted - have), from);
  const { resumed } = await download({
    http: hub.http,
    url: file.url,
    credentials: hub.credentials,
    part: context.part,
    title: entry.title,
    identity: file.identity,
    totalBytes,
    limitBytes: 2 * entry.aboutBytes,
    isChecked: (file.sha256 ?? context.sha256) !== undefined,
    signal: context.signal,
    meter: context.meter,
    say: context.say,
    timings: context.timings,
  });
  return { sha256: file.sha256, from, resumed };
}
