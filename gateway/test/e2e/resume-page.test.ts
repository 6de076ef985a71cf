// The client of docs/reference/resume.md, as it stands there: it reads a whole answer, and it ends where an answer fails or the
// request is refused, instead of asking for ever.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';

interface Chunk {
  readonly choices?: readonly { readonly delta: { readonly content?: string } }[];
  readonly error?: { readonly code: string };
}
type Client = (url: string, body: object, headers: object) => AsyncIterable<Chunk>;

const MOST_REQUESTS = 10;
const page = readFileSync(new URL('../../../docs/reference/resume.md', import.meta.url), 'utf8');
const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];

let server: InProcessServer;
before(async () => {
  const fake = { kind: 'fake', first_token_ms: 5, token_ms: 5, pieces: ['One ', 'two ', '三 ', '😀'] };
  server = await startInProcess({
    log_level: 'silent',
    backends: [
      { ...fake, id: 'lasts' },
      { ...fake, id: 'breaks', fail_after: 2 },
    ],
    models: [
      { id: 'whole', backends: ['lasts'] },
      { id: 'fails', backends: ['breaks'] },
    ],
  });
});
after(() => server.close());

/** What the client read; each of its answers is cut after `cutAfter` of its reads, where that is given. */
async function read(model: string, cutAfter?: number): Promise<string> {
  let asked = 0;
  const counted = async (...request: Parameters<typeof fetch>) => {
    asked += 1;
    if (asked > MOST_REQUESTS) throw assert.fail(`it asks for ever: ${asked} requests`);
    const response = await fetch(...request);
    if (cutAfter === undefined || !response.body) return response;
    let reads = 0;
    const cutting = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        reads += 1;
        if (reads > cutAfter) controller.error(new TypeError('terminated'));
        else controller.enqueue(bytes);
      },
    });
    const { status, headers } = response;
    return new Response(response.body.pipeThrough(cutting), { status, headers });
  };
  const client = new Function('fetch', `${code}; return resuming;`)(counted) as Client;
  const body = { model, stream: true, messages: [{ role: 'user', content: 'Count.' }] };
  let text = '';
  for await (const { choices, error } of client(`${server.url}/v1/chat/completions`, body, {})) {
    text += error ? `[${error.code}]` : (choices?.[0]?.delta.content ?? '');
  }
  assert.ok(asked <= MOST_REQUESTS, `${asked} requests`);
  return text;
}

test('it reads a whole answer', async () => {
  assert.equal(await read('whole'), 'One two 三 😀');
});

test('cut off after each of its reads it misses nothing and reads nothing twice', {
  timeout: 20_000,
}, async () => {
  assert.equal(await read('whole', 1), 'One two 三 😀');
});

test('it ends where an answer fails, with the reason', { timeout: 20_000 }, async () => {
  assert.equal(await read('fails'), 'One two [backend_failed]');
});

test('it says so where the request is refused', { timeout: 20_000 }, async () => {
  await assert.rejects(read('none'), /model_not_found/);
});
