// The client of docs/reference/socket.md, as it stands there: it reads whole answers over a socket that breaks again and again.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type InProcessServer, startInProcess } from '../in-process.ts';
import { waitUntil } from './harness.ts';
import { chatText, type Frame } from './socket-client.ts';

interface Connected {
  ask(
    id: string,
    route: string,
    body: object,
    tell: (type: string, frame: Omit<Frame, 'type'>) => void,
  ): void;
  cancel(id: string): void;
  close(): void;
}
type Connect = (url: string, key: string) => Connected;

const LIMIT_MS = 20_000;
const PIECES = Array.from({ length: 40 }, (_, index) => `${index} 量子 `);
const page = readFileSync(new URL('../../../docs/reference/socket.md', import.meta.url), 'utf8');
const [, code = ''] = /```js\n([\s\S]*?)\nconst sluice = /.exec(page) ?? [];

let server: InProcessServer;
before(async () => {
  server = await startInProcess({
    log_level: 'silent',
    keys: [{ key: 'secret', name: 'one' }],
    backends: [{ kind: 'fake', first_token_ms: 50, token_ms: 20, pieces: PIECES }],
    models: [{ id: 'story' }],
  });
});
after(() => server.close());

/** The page's client over sockets that the test can break, with its pauses made short. */
function connected(key: string): { client: Connected; breakOff: () => void } {
  const sockets: WebSocket[] = [];
  class Breaking extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  const soon = (callback: () => void) => setTimeout(callback, 5);
  const connect = new Function('WebSocket', 'setTimeout', `${code}; return connect;`)(
    Breaking,
    soon,
  ) as Connect;
  const client = connect(`ws://127.0.0.1:${server.port}/v1/socket`, key);
  return { client, breakOff: () => sockets.at(-1)!.close() };
}

const body = { model: 'story', stream: true, messages: [{ role: 'user', content: 'Count.' }] };

test('its answers are whole, wherever their socket breaks', { timeout: 60_000 }, async () => {
  const { client, breakOff } = connected('secret');
  const frames = new Map<string, Frame[]>(['1', '2', '3'].map((id) => [id, []]));
  for (const [id, own] of frames) {
    client.ask(id, '/v1/chat/completions', body, (type, frame) => own.push({ type, ...frame }));
  }
  const events = () => [...frames.values()].flat().filter(({ type }) => type === 'event').length;
  for (let breaks = 0; breaks < 8; breaks += 1) {
    const before = events();
    breakOff();
    await waitUntil(
      () => events() > before,
      LIMIT_MS,
      () => 'it does not come again',
    );
  }
  for (const own of frames.values()) {
    await waitUntil(
      () => own.at(-1)?.type === 'end',
      LIMIT_MS,
      () => JSON.stringify(own.at(-1)),
    );
    assert.equal(chatText(own), PIECES.join(''));
  }
  client.close();
});

test('it tells what is wrong, and takes back what is not wanted', async () => {
  const { client } = connected('secret');
  const heard: string[] = [];
  client.ask('wrong', '/v1/chat/completions', { ...body, model: 'none' }, (type, { status }) =>
    heard.push(`wrong ${type} ${status ?? ''}`),
  );
  client.ask('long', '/v1/chat/completions', body, (type, { reason }) => {
    if (type === 'event') client.cancel('long');
    if (type === 'end') heard.push(`long ${reason}`);
  });
  await waitUntil(
    () => heard.includes('long cancelled'),
    LIMIT_MS,
    () => heard.join(),
  );
  assert.ok(heard.includes('wrong error 404'));
  client.close();
});
