// The clients of the engine's benchmarks against a scripted server on a real socket: what they count, and what they refuse
// to count as an answer.
import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { ask, closedLoop, figuresOf, openLoop, poissonArrivals, Refusal, type Seen } from './chat-load.ts';

const CHAT = { system: 'Be kind.', user: 'Hello?', maxTokens: 3 };
const word = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
const END =
  'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n' +
  'data: {"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":9}}\n\ndata: [DONE]\n\n';

let server: Server;
let port: number;
let answer: (response: ServerResponse, body: Record<string, unknown>) => void;
let ports: (number | undefined)[] = [];
let open = 0;
let mostOpen = 0;

before(async () => {
  server = createServer(async (request, response) => {
    open += 1;
    mostOpen = Math.max(mostOpen, open);
    ports.push(request.socket.remotePort);
    response.on('close', () => (open -= 1));
    let body = '';
    for await (const part of request) body += part;
    answer(response, JSON.parse(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});

beforeEach(() => {
  ports = [];
  mostOpen = 0;
  answer = (response) => response.end(word('Good ') + word('day') + END);
});

after(() => {
  server.closeAllConnections();
  server.close();
});

test('an answer is read, and asks for what makes it comparable', async () => {
  let asked: Record<string, unknown> = {};
  answer = (response, body) => {
    asked = body;
    response.end(word('Good ') + word('day') + END);
  };
  const seen = await ask(port, { ...CHAT, extra: { temperature: 0.6 } });
  assert.equal(seen.wordsAt.length, 2);
  assert.equal(seen.tokens, 2);
  assert.equal(seen.promptTokens, 9);
  assert.equal(seen.cachedTokens, undefined);
  assert.ok(seen.firstMs > 0 && seen.firstMs <= seen.totalMs);
  assert.deepEqual(asked.messages, [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Hello?' },
  ]);
  assert.equal(asked.max_tokens, 3);
  assert.equal(asked.stream, true);
  assert.equal(asked.temperature, 0.6);
});

test('the first word is told while the rest is still to come', async () => {
  let finish: (() => void) | undefined;
  answer = (response) => {
    response.write(word('Good '));
    finish = () => response.end(word('day') + END);
  };
  let calls = 0;
  await ask(port, CHAT, () => {
    calls += 1;
    finish!();
  });
  assert.equal(calls, 1);
});

test('a refusal says why', async () => {
  answer = (response) => response.writeHead(400).end('{"error":{"message":"Not this field."}}');
  await assert.rejects(ask(port, CHAT), (error: unknown) => {
    assert.ok(error instanceof Refusal);
    assert.equal(error.status, 400);
    assert.equal(error.message, 'Not this field.');
    return true;
  });
  answer = (response) => response.writeHead(502).end('<html>bad gateway</html>');
  await assert.rejects(ask(port, CHAT), { status: 502, message: '<html>bad gateway</html>' });
});

const broken: Record<string, (response: ServerResponse) => void> = {
  'ends without its end': (response) => response.end(word('Good ') + END.split('data: [DONE]')[0]!),
  'ends without usage': (response) => response.end(`${word('Good ')}data: [DONE]\n\n`),
  'has no words': (response) => response.end(END),
  'has no finish reason': (response) => response.end(word('Good ') + END.slice(END.indexOf('\n\n') + 2)),
  'is no JSON': (response) => response.end(`data: {"choices"\n\n${END}`),
  'fails in the middle': (response) =>
    response.end(`${word('Good ')}data: {"error":{"message":"died"}}\n\n${END}`),
  'loses its connection': (response) => {
    response.write(word('Good '));
    setTimeout(() => response.destroy(), 20);
  },
};
for (const [how, script] of Object.entries(broken)) {
  test(`an answer that ${how} is none`, async () => {
    answer = script;
    await assert.rejects(ask(port, CHAT), (error: unknown) => !(error instanceof Refusal));
  });
}

test('a closed loop keeps as many requests open as there are clients, each on a connection of its own', async () => {
  answer = (response) => void setTimeout(() => response.end(word('Good ') + END), 15);
  const { seen } = await closedLoop(port, [
    [CHAT, CHAT, CHAT],
    [CHAT, CHAT, CHAT],
  ]);
  assert.equal(seen.length, 6);
  assert.equal(mostOpen, 2);
  assert.equal(new Set(ports).size, 6);
});

test('an open loop does not wait for the answers before', async () => {
  const waiting: (() => void)[] = [];
  answer = (response) => {
    waiting.push(() => response.end(word('Good ') + END));
    if (waiting.length === 3) for (const finish of waiting) finish();
  };
  const { seen } = await openLoop(
    port,
    [0, 5, 10].map((atMs) => ({ atMs, chat: CHAT })),
  );
  assert.equal(seen.length, 3);
});

test('arrivals have their chats in order, alike for the same seed', () => {
  const chats = Array.from({ length: 50 }, (_, index) => ({ ...CHAT, user: String(index) }));
  const arrivals = poissonArrivals(1, 2, chats);
  assert.deepEqual(arrivals, poissonArrivals(1, 2, chats));
  assert.notDeepEqual(arrivals, poissonArrivals(2, 2, chats));
  assert.deepEqual(
    arrivals.map(({ chat }) => chat),
    chats,
  );
});

test('a load is told in figures', () => {
  const one = (firstMs: number, tokens: number): Seen => ({
    firstMs,
    totalMs: firstMs + 100,
    longestGapMs: firstMs / 2,
    wordsAt: [],
    tokens,
    promptTokens: 30,
    cachedTokens: undefined,
  });
  assert.deepEqual(figuresOf({ seen: [one(10, 64), one(30, 60), one(20, 64)], seconds: 2 }), {
    requests: 3,
    promptTokens: 30,
    newTokens: 188,
    fewestNewTokens: 60,
    tokensPerSecond: 94,
    firstP50Ms: 20,
    firstP99Ms: 30,
    longestGapMs: 15,
    totalP99Ms: 130,
  });
});
