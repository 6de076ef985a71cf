// Guards what pages of other origins may do, over a real socket: nothing until configured, then what they ask for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Exchange } from '../http/exchange.ts';
import { serving } from '../http/http-testing.ts';
import { handleCors } from './cors.ts';

const APP = 'https://app.example';

/** The answer to one request; 418 where the CORS code left it to the route. */
function ask(corsOrigins: string[], method: string, headers: Record<string, string>): Promise<Response> {
  return serving(
    (request, response) => {
      const exchange = new Exchange(request, response);
      if (!handleCors(exchange, { corsOrigins })) exchange.send(418, 'text/plain', 'the route');
    },
    (port) => fetch(`http://127.0.0.1:${port}/`, { method, headers }),
  );
}

const preflight = (origin: string, asked = 'x-stainless-os, content-type') => ({
  origin,
  'access-control-request-method': 'POST',
  'access-control-request-headers': asked,
});

/** Whether any header of CORS is there. */
const hasCors = ({ headers }: Response) =>
  [...headers.keys()].some((name) => name.startsWith('access-control-'));

test('without configured origins there is no CORS at all', async () => {
  for (const method of ['GET', 'OPTIONS']) {
    const answer = await ask([], method, preflight(APP));
    assert.equal(answer.status, 418);
    assert.equal(hasCors(answer), false);
    assert.equal(answer.headers.get('vary'), null);
  }
});

test('a preflight of an allowed origin is answered, and granted the headers that it asks for', async () => {
  const answer = await ask([APP], 'OPTIONS', preflight(APP));
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get('access-control-allow-origin'), APP);
  assert.equal(answer.headers.get('access-control-allow-headers'), 'x-stainless-os, content-type');
  assert.match(answer.headers.get('access-control-allow-methods')!, /POST/);
  assert.match(answer.headers.get('vary')!, /Origin/);
  assert.match(answer.headers.get('vary')!, /Access-Control-Request-Headers/);
  assert.equal(
    answer.headers.get('access-control-allow-credentials'),
    null,
    'keys travel in headers, not cookies',
  );
});

test("an allowed origin's own request goes on to its route, and its page may read our headers", async () => {
  const answer = await ask([APP], 'POST', { origin: APP });
  assert.equal(answer.status, 418);
  assert.equal(answer.headers.get('access-control-allow-origin'), APP);
  const exposed = answer.headers.get('access-control-expose-headers')!.split(', ');
  for (const name of ['x-request-id', 'retry-after', 'retry-after-ms', 'x-should-retry', 'x-sluice-model']) {
    assert.ok(exposed.includes(name), name);
  }
  assert.equal(answer.headers.get('vary'), 'Origin');
});

test('an origin that is not allowed gets nothing, but caches are told that it could differ', async () => {
  for (const origin of ['https://evil.example', 'https://app.example.evil.com', 'null']) {
    const answer = await ask([APP], 'OPTIONS', preflight(origin));
    assert.equal(answer.status, 418);
    assert.equal(hasCors(answer), false);
    assert.equal(answer.headers.get('vary'), 'Origin');
  }
});

test('a star allows every origin by its name', async () => {
  const answer = await ask(['*'], 'OPTIONS', preflight('https://any.example'));
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get('access-control-allow-origin'), 'https://any.example');
});

test('an OPTIONS that asks for no method is no preflight', async () => {
  assert.equal((await ask([APP], 'OPTIONS', { origin: APP })).status, 418);
});
