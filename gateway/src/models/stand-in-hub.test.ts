// A stand-in for the hub and for the second server that it sends downloads to, both on loopback, for the tests of this
// room; a store beside it; and a test that it behaves. It answers as the hub documents it: hash, size and commit in the head of a redirect.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CatalogueEntry } from './catalogue.ts';
import type { Environment } from './home.ts';
import { ModelStore, type StoreCallOptions } from './model-store.ts';
import { ModelStoreError, type ModelStoreErrorCode } from './model-store-error.ts';
import { sampleGguf } from './sample-gguf.ts';
import type { Timings } from './source-context.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => boolean | undefined;

export interface StandInHub {
  /** What HF_ENDPOINT is set to. */
  readonly endpoint: string;
  /** Each request, as `hub HEAD` or `store GET`, with its headers. */
  readonly seen: { readonly what: string; readonly headers: IncomingMessage['headers'] }[];
  content: Buffer;
  /** The validator of the server that has the bytes. */
  etag: string | undefined;
  /** What the hub states; undefined: nothing. */
  sha256: string | undefined;
  statedBytes: number | undefined;
  /** Look at a request first; true: answered. */
  onHub: Handler | undefined;
  onStore: Handler | undefined;
  count(what: string): number;
  last(what: string): IncomingMessage['headers'];
  /** Publishes other bytes. */
  publish(content: Buffer): void;
  close(): Promise<void>;
}

export async function startHub(content: Buffer): Promise<StandInHub> {
  const hub: StandInHub = {
    endpoint: '',
    seen: [],
    content,
    etag: undefined,
    sha256: undefined,
    statedBytes: undefined,
    onHub: undefined,
    onStore: undefined,
    count: (what) => hub.seen.filter((one) => one.what === what).length,
    last: (what) => hub.seen.findLast((one) => one.what === what)?.headers ?? {},
    publish(bytes) {
      hub.content = bytes;
      hub.sha256 = createHash('sha256').update(bytes).digest('hex');
      hub.etag = `"${hub.sha256.slice(0, 32)}"`;
      hub.statedBytes = bytes.length;
    },
    close: async () => {
      await Promise.all([stop(front), stop(store)]);
    },
  };
  const store = await listen((request, response) => {
    hub.seen.push({ what: `store ${request.method}`, headers: request.headers });
    if (!hub.onStore?.(request, response)) sendBytes(hub, request, response);
  });
  const front = await listen((request, response) => {
    hub.seen.push({ what: `hub ${request.method}`, headers: request.headers });
    if (hub.onHub?.(request, response)) return;
    const headers: Record<string, string> = { 'x-repo-commit': 'c'.repeat(40) };
    if (hub.sha256) headers['x-linked-etag'] = `"${hub.sha256}"`;
    if (hub.statedBytes) headers['x-linked-size'] = String(hub.statedBytes);
    response.writeHead(302, { ...headers, location: `${addressOf(store)}/bytes?signature=secret` }).end();
  });
  Object.assign(hub, { endpoint: addressOf(front) });
  hub.publish(content);
  return hub;
}

/** The bytes with ranges and validators, as RFC 9110 has it. */
export function sendBytes(hub: StandInHub, request: IncomingMessage, response: ServerResponse): void {
  const { content, etag } = hub;
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const isSame = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
  const start = range && isSame ? Number(range[1]) : 0;
  if (start >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  const body = content.subarray(start);
  response.writeHead(range && isSame ? 206 : 200, {
    'content-length': body.length,
    ...(etag && { etag }),
    ...(range && isSame && { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
  });
  if (request.method === 'HEAD') response.end();
  else response.end(body);
}

/** Sends this much of the answer and then breaks the connection. */
export function breakAfter(bytes: number, hub: StandInHub): Handler {
  return (request, response) => {
    const socket = request.socket;
    const { write } = socket;
    let left = bytes;
    // The answer is cut on its way out, so its head is the true one.
    const cut = (piece: Uint8Array): void => {
      const slice = piece.subarray(0, left);
      left -= slice.length;
      write.call(socket, slice, 'utf8', () => {
        if (left <= 0) setTimeout(() => socket.destroy(), 20);
      });
    };
    socket.write = ((piece: string | Uint8Array, ...rest: unknown[]) => {
      cut(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
      const done = rest.findLast((one) => typeof one === 'function') as (() => void) | undefined;
      if (done) setImmediate(done);
      return true;
    }) as Socket['write'];
    sendBytes(hub, request, response);
    return true;
  };
}

/** Sends this much of the answer, and breaks the connection once some of it lies in the file, however slow the machine is. */
export function breakOnceKept(bytes: number, hub: StandInHub, file: string): Handler {
  return (_request, response) => {
    response.writeHead(200, { 'content-length': hub.content.length, ...(hub.etag && { etag: hub.etag }) });
    response.write(hub.content.subarray(0, bytes));
    const timer = setInterval(() => {
      if (!existsSync(file) || statSync(file).size === 0) return;
      clearInterval(timer);
      response.destroy();
    }, 10);
    response.on('close', () => clearInterval(timer));
    return true;
  };
}

export function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Server> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

export async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** A model of the stand-in hub. */
export function hubEntry(changes: Partial<CatalogueEntry> = {}): CatalogueEntry {
  return {
    name: 'sample',
    title: 'Sample',
    about: 'For tests.',
    licence: 'MIT',
    file: 'sample.gguf',
    aboutBytes: 4_000_000,
    wantsMemoryBytes: 0,
    sources: [{ kind: 'huggingface', repo: 'someone/Sample-GGUF', file: 'sample.gguf', revision: 'main' }],
    ...changes,
  };
}

const FAST: Partial<Timings> = { retryDelaysMs: [5, 10, 20, 40] };
export const CONTENT = sampleGguf({ values: 500_000 });

/** A hub, an empty store that knows one model of it, and what was said. */
export async function setUpHub(
  context: TestContext,
  {
    entry = {},
    env = {},
    timings = {},
  }: { entry?: Partial<CatalogueEntry>; env?: Environment; timings?: Partial<Timings> } = {},
) {
  const hub = await startHub(CONTENT);
  const home = mkdtempSync(join(tmpdir(), 'sluice-hub-'));
  context.after(async () => {
    await hub.close();
    rmSync(home, { recursive: true, force: true });
  });
  const said: string[] = [];
  const store = new ModelStore({
    home,
    env: { HF_ENDPOINT: hub.endpoint, MODELSCOPE_ENDPOINT: hub.endpoint, ...env },
    say: (line) => said.push(line),
    freeMemoryBytes: 1e9,
    catalogue: [hubEntry(entry)],
    timings: { ...FAST, ...timings },
  });
  const folder = join(home, 'models', 'sample');
  return { hub, home, store, said, folder, file: join(folder, 'sample.gguf') };
}

/** The pull fails with this code, in these words. */
export async function refusedPull(
  store: ModelStore,
  code: ModelStoreErrorCode,
  words: RegExp,
  options: StoreCallOptions = {},
) {
  const thrown = await store.pull('sample', options).then(
    () => assert.fail('it was pulled'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof ModelStoreError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, words);
  return thrown;
}

// Other files import this one, and need not hear it again.
if (import.meta.main)
  test('the stand-in answers ranges, validators and redirects as a hub does', async () => {
    const hub = await startHub(sampleGguf());
    try {
      const head = await fetch(`${hub.endpoint}/a/b`, { method: 'HEAD', redirect: 'manual' });
      assert.equal(head.status, 302);
      assert.equal(head.headers.get('x-linked-etag'), `"${hub.sha256}"`);
      const rest = await fetch(`${hub.endpoint}/a/b`, {
        headers: { range: 'bytes=10-', 'if-range': hub.etag ?? '' },
      });
      assert.equal(rest.status, 206);
      assert.deepEqual(Buffer.from(await rest.arrayBuffer()), hub.content.subarray(10));
      const other = await fetch(`${hub.endpoint}/a/b`, {
        headers: { range: 'bytes=10-', 'if-range': '"other"' },
      });
      assert.equal(other.status, 200);
      assert.equal((await other.arrayBuffer()).byteLength, hub.content.length);
    } finally {
      await hub.close();
    }
  });

/** A folder that goes with the test. */
export function temporary(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-store-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A hub that goes with the test. */
export async function hubFor(context: TestContext, content: Buffer): Promise<StandInHub> {
  const hub = await startHub(content);
  context.after(() => hub.close());
  return hub;
}

/** That the work is refused with this code, in these words. */
export async function refused(
  work: Promise<unknown>,
  code: ModelStoreErrorCode,
  words: RegExp,
): Promise<ModelStoreError> {
  const thrown = await work.then(
    () => assert.fail('it went well'),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof ModelStoreError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, words);
  return thrown;
}
