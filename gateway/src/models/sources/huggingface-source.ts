// The hub, or a mirror of it: asks for a file's name, size and hash first, then fetches that very version.
// Not run against the real hub: a stand-in server on loopback plays it in the tests, after the hub's documented headers.
// The token must never leave the origin that HF_ENDPOINT names, nor get into a sentence.
import type { Source } from '../catalogue.ts';
import type { Environment } from '../home.ts';
import { ModelStoreError } from '../model-store-error.ts';
import type { Fetched, SourceContext } from '../source-context.ts';
import {
  type Credentials,
  createHttpClient,
  type HttpAnswer,
  type HttpClient,
  type HttpHeaders,
  unreachable,
} from './http-client.ts';
import { fetchHubFile, type HubFile } from './hub-file.ts';
import { baseOf, endpointOf, type HubQuestion, refusalOf, watchHub } from './hub-question.ts';

type HubSource = Extract<Source, { kind: 'huggingface' }>;

const PUBLIC_HUB = 'https://huggingface.co';

/** Throws ModelStoreError as `download` does, and the signal's reason when aborted. */
export async function fetchFromHub(source: HubSource, context: SourceContext): Promise<Fetched> {
  await using http = createHttpClient(context.env);
  const { endpoint, file } = await inspectOnHub(http, source, context);
  const hub = { http, host: endpoint.host, from: `${endpoint.host}/${source.repo}`, file };
  return await fetchHubFile({ ...hub, credentials: credentialsOf(context.env) }, context);
}

/** Throws ModelStoreError `unreachable`, and the signal's reason when aborted. */
export async function inspectOnHub(
  http: HttpClient,
  source: HubSource,
  question: HubQuestion,
): Promise<{ endpoint: URL; file: HubFile }> {
  const { env } = question;
  if (env.HF_HUB_OFFLINE && env.HF_HUB_OFFLINE !== '0') {
    throw new ModelStoreError('unreachable', 'The hub is not asked, because HF_HUB_OFFLINE is set.');
  }
  const endpoint = endpointOf('HF_ENDPOINT', env.HF_ENDPOINT?.trim() || PUBLIC_HUB);
  return { endpoint, file: await inspect(http, endpoint, source, question) };
}

function credentialsOf(env: Environment): Credentials | undefined {
  const token = env.HF_TOKEN?.trim();
  return token ? { authorization: `Bearer ${token}` } : undefined;
}

function fileUrl(endpoint: URL, source: HubSource, revision: string): URL {
  // A revision is one segment, whatever is in it; a repository and a file may have several.
  const segments = [...source.repo.split('/'), 'resolve', revision, ...source.file.split('/')];
  const path = segments.map(encodeURIComponent).join('/');
  return new URL(`${baseOf(endpoint)}/${path}`);
}

async function inspect(
  http: HttpClient,
  endpoint: URL,
  source: HubSource,
  question: HubQuestion,
): Promise<HubFile> {
  const credentials = credentialsOf(question.env);
  using watchdog = watchHub(endpoint, question);
  let answer: HttpAnswer;
  try {
    answer = await http.request({
      method: 'HEAD',
      url: fileUrl(endpoint, source, source.revision),
      credentials,
      signal: watchdog.signal,
      // The hub says all of a large file before it sends us to where the bytes are.
      isEnough: (headers) => headers['x-linked-etag'] !== undefined,
    });
  } catch (thrown) {
    question.signal.throwIfAborted();
    throw thrown instanceof ModelStoreError ? thrown : unreachable(endpoint.host, thrown);
  }
  answer.body.on('error', () => {}).destroy();
  const { status, headers } = answer;
  const isKnown = status === 200 || (status < 400 && headers['x-linked-etag'] !== undefined);
  if (!isKnown) {
    const { repo } = source;
    const wanted = `${source.file} in ${repo}`;
    const hasToken = credentials !== undefined;
    throw refusalOf(endpoint, { status, repo, tokenName: 'HF_TOKEN', hasToken, wanted });
  }
  const etag = bareEtag(headers['x-linked-etag'] ?? headers.etag);
  const commit = /^[0-9a-f]{40}$/.exec(headers['x-repo-commit'] ?? '')?.[0];
  const url = fileUrl(endpoint, source, commit ?? source.revision);
  return {
    url,
    // The bytes are what counts: where the hub names them, a new commit that leaves them alone changes nothing.
    identity: `huggingface ${source.repo} ${source.file} ${etag ?? commit ?? ''}`,
    totalBytes: sizeOf(headers),
    sha256: etag && /^[0-9a-f]{64}$/.test(etag) ? etag : undefined,
  };
}

function bareEtag(etag: string | undefined): string | undefined {
  return etag?.replace(/^W\//, '').replaceAll('"', '').toLowerCase() || undefined;
}

function sizeOf(headers: HttpHeaders): number | undefined {
  const text = headers['x-linked-size'] ?? headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
