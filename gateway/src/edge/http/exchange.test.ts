// Guards what every answer has, over a real socket: the id, the one shape of errors with its advice to retry, headers
// that hold any text, and that a client which still sends gets to see why it was refused.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request as send } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ErrorCode, GatewayError, toGatewayError } from '../../core/errors.ts';
import { Exchange } from './exchange.ts';
import { serving as servingAny } from './http-testing.ts';
import { headerSafe } from './response.ts';

type Handler = (exchange: Exchange) => void | Promise<void>;

const serving = (handler: Handler, use: (port: number) => Promise<void>) =>
  servingAny((request, response) => void handler(new Exchange(request, response)), use);

async function ask(port: number, options: RequestOptions = {}, body: Buffer | string = '') {
  const request = send({ port, host: '127.0.0.1', agent: false, ...options });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode, headers: response.headers, text };
}

/** The status line, headers and body of a request written as bytes. */
async function askRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) text += chunk;
  return text;
}

test("a client's own id is taken if it is sane, and answered under both names", async () => {
  await serving(
    (exchange) => exchange.sendJson(200, { id: exchange.id }),
    async (port) => {
      for (const id of ['req-1', 'a.b:c/d+e=f@g_h', 'x'.repeat(128)]) {
        const { headers, text } = await ask(port, { headers: { 'x-request-id': id } });
        assert.equal(headers['x-request-id'], id);
        assert.equal(headers['x-siliconcloud-trace-id'], id);
        assert.deepEqual(JSON.parse(text), { id });
      }
    },
  );
});

test('an id that could forge a log line is replaced by a fresh one', async () => {
  await serving(
    (exchange) => exchange.sendJson(200, {}),
    async (port) => {
      const seen = new Set<string>();
      for (const id of [undefined, '', 'two words', '"quoted"', '{"a":1}', 'x'.repeat(129), 'caf\u00e9']) {
        const { headers } = await ask(port, { headers: id === undefined ? {} : { 'x-request-id': id } });
        assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/, id);
        seen.add(String(headers['x-request-id']));
      }
      assert.equal(seen.size, 7);
    },
  );
});

test('path and query are parted, also where the target names a host', async () => {
  await serving(
    (exchange) => exchange.sendJson(200, { path: exchange.path, query: [...exchange.query] }),
    async (port) => {
      for (const [target, path, query] of [
        ['/a%20b', '/a%20b', []],
        [
          '/a?x=1&y=%20',
          '/a',
          [
            ['x', '1'],
            ['y', ' '],
          ],
        ],
        ['/a?b?c', '/a', [['b?c', '']]],
        ['http://proxy.example/a?x=1', '/a', [['x', '1']]],
        ['HTTPS://proxy.example:444/a', '/a', []],
        ['http://proxy.example', '/', []],
      ] as const) {
        const answer = await askRaw(port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
        assert.deepEqual(JSON.parse(answer.split('\r\n\r\n')[1]!), { path, query }, target);
      }
    },
  );
});

test('a header that is absent or empty is undefined', async () => {
  await serving(
    (exchange) =>
      exchange.sendJson(
        200,
        ['x-a', 'x-b', 'x-c'].map((name) => exchange.header(name) ?? null),
      ),
    async (port) => {
      const { text } = await ask(port, { headers: { 'x-a': 'one', 'x-b': '' } });
      assert.deepEqual(JSON.parse(text), ['one', null, null]);
    },
  );
});

test('an answer has the headers that were set before, its length in bytes, and JSON on a line of its own', async () => {
  await serving(
    (exchange) => {
      exchange.setHeader('x-early', 'yes');
      exchange.sendJson(201, { text: '量子' }, { 'x-late': 'too' });
    },
    async (port) => {
      const { status, headers, text } = await ask(port);
      assert.equal(status, 201);
      assert.deepEqual([headers['x-early'], headers['x-late']], ['yes', 'too']);
      assert.equal(headers['content-type'], 'application/json; charset=utf-8');
      assert.equal(headers['content-length'], String(Buffer.byteLength(text)));
      assert.equal(text, '{"text":"量子"}\n');
    },
  );
});

test('HEAD gets the head of the answer and no body', async () => {
  await serving(
    (exchange) => exchange.sendJson(200, { some: 'thing' }),
    async (port) => {
      const answer = await askRaw(port, 'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      assert.match(answer, /^HTTP\/1\.1 200 .*content-length: 17\r\n.*\r\n\r\n$/is);
    },
  );
});

test('a second answer is dropped instead of breaking the first', async () => {
  await serving(
    (exchange) => {
      exchange.sendJson(200, { first: true });
      exchange.sendError(new GatewayError('internal', 'second'));
    },
    async (port) => {
      const { status, text } = await ask(port);
      assert.deepEqual([status, JSON.parse(text)], [200, { first: true }]);
    },
  );
});

test('an error tells the client what, and whether and when to ask again', async () => {
  const cases: [ErrorCode, number | undefined, number, Record<string, string | undefined>][] = [
    ['overloaded', 1_500, 503, { 'retry-after': '2', 'retry-after-ms': '1500', 'x-should-retry': 'true' }],
    ['rate_limited', 999.5, 429, { 'retry-after': '1', 'retry-after-ms': '1000', 'x-should-retry': 'true' }],
    ['not_ready', undefined, 503, { 'retry-after': '1', 'retry-after-ms': '1000', 'x-should-retry': 'true' }],
    ['overloaded', Infinity, 503, { 'retry-after': undefined, 'x-should-retry': 'false' }],
    ['invalid_request', 1_500, 400, { 'retry-after': undefined, 'x-should-retry': 'false' }],
    ['backend_failed', undefined, 502, { 'retry-after': undefined, 'x-should-retry': 'false' }],
  ];
  for (const [code, retryAfterMs, status, expected] of cases) {
    await serving(
      (exchange) => exchange.sendError(new GatewayError(code, 'Said so.', { retryAfterMs, param: 'field' })),
      async (port) => {
        const answer = await ask(port);
        assert.equal(answer.status, status);
        for (const [name, value] of Object.entries(expected)) assert.equal(answer.headers[name], value, code);
        const body = JSON.parse(answer.text);
        assert.equal(body.error.message, 'Said so.');
        assert.equal(body.error.param, 'field');
        assert.equal(body.message, 'Said so.');
      },
    );
  }
});

test("a refusal's status may be the back end's own", async () => {
  await serving(
    (exchange) => exchange.sendError(new GatewayError('backend_refused', 'No.', { status: 422 })),
    async (port) => assert.equal((await ask(port)).status, 422),
  );
});

test('nothing of a cause reaches the client', async () => {
  await serving(
    (exchange) => exchange.sendError(toGatewayError(new Error('the secret of the house'))),
    async (port) => {
      const { status, text, headers } = await ask(port);
      assert.equal(status, 500);
      assert.doesNotMatch(text + JSON.stringify(headers), /secret|stack|\.ts/);
    },
  );
});

const refuseLarge: Handler = async (exchange) => {
  try {
    const body = await exchange.readBody({ maxBytes: 1024 * 1024, stallMs: 10_000 });
    exchange.sendJson(200, { bytes: body.length });
  } catch (thrown) {
    exchange.sendError(toGatewayError(thrown));
  }
};

for (const [how, headers] of [
  ['of a known length', { 'content-length': 3 * 1024 * 1024 }],
  ['in chunks', { 'transfer-encoding': 'chunked' }],
] as const) {
  test(`a body ${how} over the limit is read to its end, so that its sender sees the 413`, async () => {
    await serving(refuseLarge, async (port) => {
      const body = Buffer.alloc(3 * 1024 * 1024, 'x');
      const answer = await ask(port, { method: 'POST', headers }, body);
      assert.equal(answer.status, 413);
      assert.equal(JSON.parse(answer.text).error.code, 'body_too_large');
      assert.match(answer.text, /1048576 bytes/);
      assert.equal(answer.headers.connection, 'close');
    });
  });
}

test('after a refusal the connection stays until the rest of the body has come', async () => {
  await serving(refuseLarge, async (port) => {
    const half = Buffer.alloc(1024 * 1024, 'x');
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (bytes) => (text += bytes.toString('latin1')));
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 * half.length}\r\n\r\n`);
    socket.write(half);
    while (!text.endsWith('}\n')) await once(socket, 'data');
    assert.match(text, /^HTTP\/1\.1 413 /);
    assert.equal(socket.readableEnded, false);
    socket.write(half);
    await once(socket, 'close');
    assert.equal(socket.errored, null);
  });
});

test('a small body that nobody has read does not cost its connection', async () => {
  await serving(
    (exchange) => exchange.sendError(new GatewayError('not_found', 'No.')),
    async (port) => {
      const one = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab';
      const last = one.replace('Host', 'Connection: close\r\nHost');
      assert.equal((await askRaw(port, one + last)).split('HTTP/1.1 404').length - 1, 2);
    },
  );
});

test('a connection whose body was read whole is kept for the next request', async () => {
  await serving(refuseLarge, async (port) => {
    const { status, headers } = await ask(
      port,
      { method: 'POST', headers: { connection: 'keep-alive' } },
      'x',
    );
    assert.deepEqual([status, headers.connection], [200, 'keep-alive']);
  });
});

test('any text becomes a header value that HTTP allows, plain text stays as it is', () => {
  assert.equal(headerSafe('fake (scripted words, no model) 100%'), 'fake (scripted words, no model) 100%');
  assert.equal(headerSafe('deepseek-ai/模型 100%'), 'deepseek-ai/%E6%A8%A1%E5%9E%8B%20100%25');
  assert.equal(headerSafe('a\r\nset-cookie: b'), 'a%0D%0Aset-cookie%3A%20b');
  const anyText = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units));
  fc.assert(fc.property(anyText, (text) => assert.match(headerSafe(text), /^[\x20-\x7e]*$/)));
});
