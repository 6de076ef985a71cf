// ModelScope, or a mirror of it: asks for the list of a repository's files, which has their sizes and hashes, then fetches one.
// Not run against the real service: a stand-in server on loopback plays it in the tests, after ModelScope's own client.
// The token must never leave the origin that MODELSCOPE_ENDPOINT names, nor get into a sentence.
import { z } from 'zod';
import type { Source } from '../catalogue.ts';
import type { Environment } from '../home.ts';
import { ModelStoreError } from '../model-store-error.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import {
  type Credentials,
  createHttpClient,
  type HttpAnswer,
  type HttpClient,
  unreachable,
} from './http-client.ts';
import { fetchHubFile, type HubFile } from './hub-file.ts';
import { baseOf, endpointOf, type HubQuestion, refusalOf, watchHub } from './hub-question.ts';
import type { Watchdog } from './watchdog.ts';

type ModelScopeSource = Extract<Source, { kind: 'modelscope' }>;

const PUBLIC_SERVICE = 'https://www.modelscope.cn';
/** A list of some ten thousand files. */
const MAX_LIST_BYTES = 8 * 1024 * 1024;

const listedFile = z.object({
  Path: z.string(),
  Type: z.string().optional(),
  Size: z.int().min(0).optional(),
  /** Empty for a file that is kept in the repository itself. */
  Sha256: z.string().nullish(),
  /** The commit that changed it last. */
  Revision: z.string().nullish(),
});
const listSchema = z.object({ Data: z.object({ Files: z.array(listedFile) }) });

/** Throws ModelStoreError as `download` does, and the signal's reason when aborted. */
export async function fetchFromModelScope(
  source: ModelScopeSource,
  context: SourceContext,
): Promise<Fetched> {
  await using http = createHttpClient(context.env);
  const { endpoint, file } = await inspectOnModelScope(http, source, context);
  const hub = { http, host: endpoint.host, from: `${endpoint.host}/${source.repo}`, file };
  return await fetchHubFile({ ...hub, credentials: credentialsOf(context.env) }, context);
}

/** Throws ModelStoreError `unreachable`, and the signal's reason when aborted. */
export async function inspectOnModelScope(
  http: HttpClient,
  source: ModelScopeSource,
  question: HubQuestion,
): Promise<{ endpoint: URL; file: HubFile }> {
  const endpoint = serviceOf(question.env);
  const credentials = credentialsOf(question.env);
  using watchdog = watchHub(endpoint, question);
  let text: string;
  try {
    const answer = await http.request({
      method: 'GET',
      url: repositoryUrl(endpoint, source, 'repo/files', {
        Revision: source.revision,
        Recursive: 'True',
      }),
      ...(credentials && { credentials }),
      signal: watchdog.signal,
    });
    if (answer.status !== 200) {
      answer.body.on('error', () => {}).destroy();
      const { repo, revision } = source;
      throw refusalOf(endpoint, {
        status: answer.status,
        repo,
        tokenName: 'MODELSCOPE_API_TOKEN',
        hasToken: credentials !== undefined,
        wanted: `${repo} at ${revision}`,
      });
    }
    text = await readText(answer, watchdog, endpoint.host);
  } catch (thrown) {
    watchdog.signal.throwIfAborted();
    throw thrown instanceof ModelStoreError ? thrown : unreachable(endpoint.host, thrown);
  }
  return { endpoint, file: fileIn(text, endpoint, source) };
}

function fileIn(text: string, endpoint: URL, source: ModelScopeSource): HubFile {
  const list = listSchema.safeParse(parseJson(text));
  if (!list.success) {
    throw new ModelStoreError('unreachable', `${endpoint.host} does not list the files of ${source.repo}.`);
  }
  const found = list.data.Data.Files.find(({ Path, Type }) => Path === source.file && Type !== 'tree');
  if (!found) {
    throw new ModelStoreError('unreachable', `${endpoint.host} has no ${source.file} in ${source.repo}.`);
  }
  const sha256 = found.Sha256?.toLowerCase();
  const isHash = sha256 !== undefined && /^[0-9a-f]{64}$/.test(sha256);
  return {
    url: repositoryUrl(endpoint, source, 'repo', { Revision: source.revision, FilePath: source.file }),
    identity: `modelscope ${source.repo} ${source.file} ${isHash ? sha256 : (found.Revision ?? '')}`,
    totalBytes: found.Size,
    sha256: isHash ? sha256 : undefined,
  };
}

/** MODELSCOPE_DOMAIN is the older name, and often a bare host. */
function serviceOf(env: Environment): URL {
  const name = env.MODELSCOPE_ENDPOINT?.trim() ? 'MODELSCOPE_ENDPOINT' : 'MODELSCOPE_DOMAIN';
  const address = env[name]?.trim() || PUBLIC_SERVICE;
  return endpointOf(name, address.includes('://') ? address : `https://${address}`);
}

/** Older parts of the service look for the cookie, newer ones for the header; its own client sends both. */
function credentialsOf(env: Environment): Credentials | undefined {
  const token = env.MODELSCOPE_API_TOKEN?.trim();
  return token ? { authorization: `Bearer ${token}`, cookie: `m_session_id=${token}` } : undefined;
}

function repositoryUrl(
  endpoint: URL,
  source: ModelScopeSource,
  what: string,
  query: Readonly<Record<string, string>>,
): URL {
  const repo = source.repo.split('/').map(encodeURIComponent).join('/');
  return new URL(`${baseOf(endpoint)}/api/v1/models/${repo}/${what}?${new URLSearchParams(query)}`);
}

async function readText(answer: HttpAnswer, watchdog: Watchdog, host: string): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer.body) {
    watchdog.touch();
    bytes += (piece as Buffer).length;
    if (bytes > MAX_LIST_BYTES) {
      throw new ModelStoreError('unreachable', `${host} sends a list of files without an end.`);
    }
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
