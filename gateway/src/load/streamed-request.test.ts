// One client of a load against a scripted server on a real socket: what counts as an answer, and what as which end.
import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { ManualClock } from '../../test/manual-clock.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import { type Asked, Endpoint, type Heard, retryAfterIn } from './streamed-request.ts';

const word = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
const FINISH = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n';
const DONE = 'data: [DONE]\n\n';
const USAGE = 'data: {"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":9}}\n\n';
const WHOLE = word('Good ') + word('day') + FINISH + USAGE + DONE;

let server: Server;
let url: URL;
let script: (response: ServerResponse) => void = () => {};
let seen: { headers: Record<string, unknown>; body: string }[] = [];
let connections = 0;

before(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    seen.push({ headers: request.headers, body });
    script(response);
  });
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat/completions?a=b`);
});

after(() => {
  server.closeAllConnections();
  server.close();
});

function ask(
  answer: (response: ServerResponse) => void,
  more: Partial<Asked> = {},
  clock: Clock = systemClock,
): Promise<Heard> {
  script = answer;
  seen = [];
  const endpoint = new Endpoint({ url, headers: { 'x-extra': 'yes' }, clock });
  return endpoint.ask({
    body: '{"q":1}',
    key: undefined,
    patienceMs: 10_000,
    since: clock.now(),
    ...more,
  });
}

test('an answer is heard to its end', async () => {
  const times: number[] = [];
  const heard = await ask((response) => response.writeHead(200, { 'x-sluice-backend': 'left' }).end(WHOLE), {
    key: 'secret',
    onWord: (at) => times.push(at),
  });
  assert.equal(heard.ending, 'complete');
  assert.equal(heard.reason, undefined);
  assert.equal(heard.status, 200);
  assert.equal(heard.backend, 'left');
  assert.deepEqual(heard.usage, { tokens: 2, promptTokens: 9, cachedTokens: undefined });
  assert.deepEqual(times, heard.wordsAt);
  assert.equal(times.length, 2);
  assert.ok(heard.sentAt <= times[0]! && times[1]! <= heard.endedAt);
  const [{ headers, body }] = seen as [(typeof seen)[number]];
  assert.equal(headers.authorization, 'Bearer secret');
  assert.equal(headers['x-extra'], 'yes');
  assert.equal(headers.connection, 'close');
  assert.equal(body, '{"q":1}');
});

test('who has no key shows none, and every request has a connection of its own', async () => {
  connections = 0;
  for (let count = 0; count < 3; count += 1) await ask((response) => response.end(WHOLE));
  assert.equal(connections, 3);
  assert.equal(seen[0]!.headers.authorization, undefined);
});

test('a character that is cut between two reads is one', async () => {
  const bytes = Buffer.from(word('北京🌍') + FINISH + DONE);
  const heard = await ask((response) => {
    response.flushHeaders();
    let at = 0;
    const next = () => {
      if (at >= bytes.length) response.end();
      else response.write(bytes.subarray(at, at + 1), () => setImmediate(next));
      at += 1;
    };
    next();
  });
  assert.equal(heard.ending, 'complete');
  assert.equal(heard.wordsAt.length, 1);
});

const endings: Record<string, [Heard['ending'], string, (response: ServerResponse) => void]> = {
  'ends without [DONE]': ['lost', 'no [DONE]', (response) => response.end(word('a') + FINISH)],
  'ends without a finish reason': ['lost', 'no finish reason', (response) => response.end(word('a') + DONE)],
  'is no stream': ['lost', 'no [DONE]', (response) => response.end('{"choices":[]}')],
  'is no JSON': ['failed', 'no valid stream', (response) => response.end(`data: {"choices\n\n${WHOLE}`)],
  'says in the middle that it failed': [
    'failed',
    'error in the stream',
    (response) => response.end(`${word('a')}data: {"error":{"message":"died"}}\n\n`),
  ],
  'says that it failed, and ends as if it had not': [
    'failed',
    'error in the stream',
    (response) => response.end(`${word('a')}data: {"error":{"message":"died"}}\n\n${FINISH}${DONE}`),
  ],
  'is a server error': [
    'failed',
    'http 500',
    (response) => response.writeHead(500).end('{"error":{"message":"died"}}'),
  ],
  'is a redirect': ['failed', 'http 302', (response) => response.writeHead(302, { location: '/' }).end()],
  'is a refusal': [
    'refused',
    'overloaded',
    (response) => response.writeHead(503).end('{"error":{"code":"overloaded","message":"Full."}}'),
  ],
  'is a refusal without words': ['refused', 'http 429', (response) => response.writeHead(429).end()],
};
for (const [how, [ending, reason, answer]] of Object.entries(endings)) {
  test(`an answer that ${how} is ${ending}`, async () => {
    const heard = await ask(answer);
    assert.deepEqual([heard.ending, heard.reason], [ending, reason]);
  });
}

test('an answer whose connection breaks is lost, with the words that came', async () => {
  const heard = await ask((response) => {
    response.write(word('Good '), () => setTimeout(() => response.destroy(), 20));
  });
  assert.equal(heard.ending, 'lost');
  assert.equal(heard.wordsAt.length, 1);
});

test('a connection that breaks before an answer, or cannot be made, is a failure by its code', async () => {
  const broken = await ask((response) => response.destroy());
  assert.equal(broken.ending, 'failed');
  assert.equal(broken.status, 0);
  const nobody = new Endpoint({ url: new URL('http://127.0.0.1:1/v1'), headers: {}, clock: systemClock });
  const refused = await nobody.ask({
    body: '',
    key: undefined,
    patienceMs: 10_000,
    since: systemClock.now(),
  });
  assert.deepEqual([refused.ending, refused.reason], ['failed', 'ECONNREFUSED']);
});

test('a refusal says when to come again, in ms where the server does', async () => {
  const refusal = (headers: Record<string, string>) =>
    ask((response) => response.writeHead(503, headers).end('{}'));
  assert.equal((await refusal({ 'retry-after': '2', 'retry-after-ms': '1500' })).retryAfterMs, 1_500);
  assert.equal((await refusal({ 'retry-after': '2' })).retryAfterMs, 2_000);
  assert.equal((await refusal({})).retryAfterMs, undefined);
  assert.equal(retryAfterIn({ 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }), undefined);
  assert.equal(retryAfterIn({ 'retry-after': '-1' }), undefined);
  const failure = await ask((response) => response.writeHead(500, { 'retry-after': '2' }).end('{}'));
  assert.equal(failure.retryAfterMs, undefined, 'a failure is no refusal');
});

/** The server sees its socket close. */
function closing(answer: (response: ServerResponse) => void): {
  readonly script: (response: ServerResponse) => void;
  readonly closed: Promise<void>;
} {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    closed: promise,
    script: (response) => {
      response.on('close', () => resolve());
      answer(response);
    },
  };
}

test('who hears no first word in time leaves, and closes the socket', async () => {
  const clock = new ManualClock();
  const silent = closing((response) => {
    response.flushHeaders();
    clock.advance(40);
  });
  const heard = await ask(silent.script, { patienceMs: 40 }, clock);
  assert.deepEqual([heard.ending, heard.reason], ['gave-up', 'no first word']);
  await silent.closed;
});

test('the patience for the first word began when the request was due', async () => {
  const clock = new ManualClock(60_000);
  const silent = closing(() => clock.advance(40));
  const heard = await ask(silent.script, { patienceMs: 60_000, since: 40 }, clock);
  assert.equal(heard.ending, 'gave-up');
  await silent.closed;
});

test('who hears nothing more in the middle leaves; keep-alives are no words', async () => {
  const clock = new ManualClock();
  const stalled = closing((response) => response.write(word('Good ')));
  let response: ServerResponse | undefined;
  const fillSilence = (times: number) => {
    if (response!.destroyed) return;
    clock.advance(1);
    if (times === 0) response!.end();
    else response!.write(': still there\n\n', () => setImmediate(fillSilence, times - 1));
  };
  const heard = await ask(
    (one) => {
      response = one;
      stalled.script(one);
    },
    // Time passes only once the word has been heard.
    { patienceMs: 60, onWord: () => fillSilence(600) },
    clock,
  );
  assert.deepEqual([heard.ending, heard.reason], ['gave-up', 'a silence']);
  assert.equal(heard.wordsAt.length, 1);
  await stalled.closed;
});

test('who is told to stop leaves at once, or does not come', async () => {
  const stop = new AbortController();
  const open = closing((response) => response.write(word('a'), () => stop.abort()));
  assert.equal((await ask(open.script, { signal: stop.signal })).ending, 'stopped');
  await open.closed;
  assert.equal((await ask(() => {}, { signal: stop.signal })).ending, 'stopped');
  assert.equal(seen.length, 0);
});
