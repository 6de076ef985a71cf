// Guards the reading of answers: the same whatever way the network cut them, nothing but one answer, and bounds on what nobody reads.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../../core/errors.ts';
import { ResponseParser } from './response-parser.ts';
import type { UpstreamHeaders } from './upstream-reader.ts';

interface Read {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  isDone: boolean;
  keepsAlive: boolean;
  keepAliveMs: number | undefined;
  endsWithConnection: boolean;
  /** Bytes of what was given that are not the answer's. */
  left: number;
}

/** Gives the bytes in pieces that end at `cuts`. */
function readIn(bytes: Buffer, cuts: readonly number[]): Read {
  const read = { status: 0, headers: {} as UpstreamHeaders };
  let heads = 0;
  const body: Buffer[] = [];
  const parser = new ResponseParser({
    head: (status, headers) => {
      heads += 1;
      Object.assign(read, { status, headers });
    },
    data: (data) => body.push(Buffer.from(data)),
  });
  // One place for all that is read, as the network gives it: what is kept of it is overwritten.
  const place = Buffer.alloc(bytes.length);
  let used = 0;
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    const piece = place.subarray(0, end - start);
    bytes.copy(piece, 0, start, end);
    if (!parser.isDone) used += parser.read(piece);
    place.fill(0x2e);
    start = end;
  }
  assert.ok(heads <= 1);
  const { isDone, keepsAlive, keepAliveMs, endsWithConnection } = parser;
  return {
    ...{ isDone, keepsAlive, keepAliveMs, endsWithConnection },
    status: read.status,
    headers: { ...read.headers },
    body: Buffer.concat(body).toString(),
    left: bytes.length - used,
  };
}

const readWhole = (text: string) => readIn(Buffer.from(text, 'latin1'), []);

/** Every way to cut it into two, and byte by byte. */
function readInAllWays(text: string): Read {
  const bytes = Buffer.from(text, 'latin1');
  const whole = readIn(bytes, []);
  for (let at = 1; at < bytes.length; at += 1) assert.deepEqual(readIn(bytes, [at]), whole, `cut at ${at}`);
  const single = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1);
  assert.deepEqual(readIn(bytes, single), whole);
  return whole;
}

const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

describe('an answer, wherever it is cut', () => {
  test('with a length', () => {
    const read = readInAllWays(
      'HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-Kind:a\r\nx-kind:  b \r\ncontent-length: 5\r\n\r\nsome\nNEXT',
    );
    assert.deepEqual(
      [read.status, read.body, read.isDone, read.keepsAlive, read.left],
      [200, 'some\n', true, true, 4],
    );
    assert.deepEqual(read.headers, {
      'content-type': 'a/b',
      'x-kind': ['a', 'b'],
      'content-length': '5',
    });
  });

  test('in chunks, with extensions and a trailer', () => {
    const read = readInAllWays(
      `${CHUNKED}1\r\na\r\n0A;x="y"\r\n0123456789\r\n2 \r\nbc\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nNEXT`,
    );
    assert.deepEqual([read.body, read.isDone, read.keepsAlive, read.left], ['a0123456789bc', true, true, 4]);
    assert.equal(readInAllWays(`${CHUNKED}0\r\n\r\n`).isDone, true);
    assert.equal(readInAllWays(`${CHUNKED}0\r\nx: 1\r\n`).isDone, false);
  });

  test('with no end but its connection’s', () => {
    const read = readInAllWays('HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\n\r\nall of it');
    assert.deepEqual(
      [read.body, read.isDone, read.endsWithConnection, read.keepsAlive],
      ['all of it', false, true, false],
    );
  });

  test('behind hints, and without a body', () => {
    const hints = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n';
    for (const answer of ['HTTP/1.1 204 No Content\r\n\r\n', 'HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n']) {
      const read = readInAllWays(hints + answer);
      assert.deepEqual([read.isDone, read.body, read.keepsAlive], [true, '', true]);
    }
  });
});

test('any answer is read as it was written', () => {
  const answer = fc.record({
    isChunked: fc.boolean(),
    status: fc.constantFrom(200, 201, 404, 429, 503),
    pieces: fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), { maxLength: 6 }),
    headers: fc.array(
      fc.tuple(
        fc.stringMatching(/^[xX]-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}$/),
        fc.stringMatching(/^[!-~\xa1-\xff]*$/),
      ),
      { maxLength: 4 },
    ),
  });
  fc.assert(
    fc.property(answer, fc.array(fc.nat()), ({ isChunked, status, pieces, headers }, places) => {
      const bodies = pieces.map((piece) => Buffer.from(piece));
      const body = Buffer.concat(bodies);
      const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const framing = isChunked ? 'transfer-encoding: Chunked' : `content-length: ${body.length}`;
      const written = isChunked
        ? Buffer.concat([
            ...bodies.flatMap((one) => [
              Buffer.from(`${one.length.toString(16)}\r\n`),
              one,
              Buffer.from('\r\n'),
            ]),
            Buffer.from('0\r\n\r\n'),
          ])
        : body;
      const bytes = Buffer.concat([
        Buffer.from(`HTTP/1.1 ${status} Any\r\n${lines}${framing}\r\n\r\n`, 'latin1'),
        written,
      ]);
      const cuts = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
      const read = readIn(bytes, cuts);
      assert.deepEqual([read.status, read.body, read.isDone, read.left], [status, body.toString(), true, 0]);
      for (const [name, value] of headers)
        assert.ok([read.headers[name.toLowerCase()]].flat().includes(value));
    }),
  );
});

test('whether its connection can be used again', () => {
  const keeps = (head: string) => readWhole(`${head}\r\ncontent-length: 0\r\n\r\n`);
  for (const [head, expected] of [
    ['HTTP/1.1 200 OK', true],
    ['HTTP/1.1 200 OK\r\nconnection: keep-alive', true],
    ['HTTP/1.1 200 OK\r\nConnection: Upgrade, Close', false],
    ['HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: close', false],
    ['HTTP/1.0 200 OK', false],
    ['HTTP/1.0 200 OK\r\nconnection: Keep-Alive', true],
  ] as const)
    assert.equal(keeps(head).keepsAlive, expected, head);
  assert.equal(keeps('HTTP/1.1 200 OK\r\nKeep-Alive: max=100, timeout=5').keepAliveMs, 5_000);
  assert.equal(keeps('HTTP/1.1 200 OK\r\nkeep-alive: max=100').keepAliveMs, undefined);
});

test('a header may have any name', () => {
  const { headers } = readWhole(
    'HTTP/1.1 200 OK\r\n__proto__: a\r\nconstructor: b\r\ncontent-length: 0\r\n\r\n',
  );
  assert.deepEqual(Object.entries(headers).slice(0, 2), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
});

test('what is no answer, or could be read as another one', () => {
  const head = (lines: string) => `HTTP/1.1 200 OK\r\n${lines}\r\n\r\n`;
  for (const text of [
    'SSH-2.0-server\r\n',
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1\t200 OK\r\n\r\n',
    ' HTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n',
    'HTTP/1.1 200 OK\nx: 1\r\n\r\n',
    head('x: 1\ncontent-length: 0'),
    head('x: 1\rcontent-length: 0'),
    head('x: a\0b'),
    head('x'),
    head(': 1'),
    head('x : 1'),
    head('x: 1\r\n folded'),
    head('content-length: 1\r\ncontent-length: 1'),
    head('content-length: 1, 1'),
    head('content-length: -1'),
    head('content-length: 0x1'),
    head('content-length: '),
    head('content-length: 9999999999999999'),
    head('content-length: 4\r\ntransfer-encoding: chunked'),
    head('transfer-encoding: gzip, chunked'),
    head('transfer-encoding: identity'),
    head('transfer-encoding: \xa0chunked'),
    head('transfer-encoding: chunked\r\ntransfer-encoding: chunked'),
    `${CHUNKED}zz\r\n`,
    `${CHUNKED}\r\n`,
    `${CHUNKED};x\r\n`,
    `${CHUNKED} 1\r\na\r\n`,
    `${CHUNKED}1\na\r\n`,
    `${CHUNKED}1\r\nab\r\n`,
    `${CHUNKED}1\r\na\n`,
    `${CHUNKED}1;x\ny\r\na\r\n`,
    `${CHUNKED}1\rx`,
    `${CHUNKED}00000000000001\r\na\r\n`,
    `${CHUNKED}0\r\n\rx`,
    `${CHUNKED}0\r\nx: 1\n\r\n`,
  ]) {
    const isBad = (thrown: unknown) =>
      thrown instanceof GatewayError && thrown.message === 'The back end did not answer in HTTP.';
    assert.throws(() => readWhole(text), isBad, JSON.stringify(text));
    const single = Array.from({ length: text.length - 1 }, (_, index) => index + 1);
    assert.throws(() => readIn(Buffer.from(text, 'latin1'), single), isBad, JSON.stringify(text));
  }
});

test('what nobody reads has a bound', () => {
  const much = 'a'.repeat(20_000);
  for (const text of [
    `HTTP/1.1 200 OK\r\nx: ${much}`,
    `HTTP/1.1 200 ${much}`,
    `${CHUNKED}1;${much}`,
    `${CHUNKED}0\r\n${'x: 1\r\n'.repeat(4_000)}`,
    `${CHUNKED}0\r\nx: ${much}`,
  ]) {
    assert.throws(() => readWhole(text), GatewayError);
    const single = Array.from({ length: text.length - 1 }, (_, index) => index + 1);
    assert.throws(() => readIn(Buffer.from(text), single), GatewayError);
  }
});

test('who stops within a part hears no more', () => {
  const pieces: string[] = [];
  const parser: ResponseParser = new ResponseParser({
    head: () => {},
    data: (bytes) => {
      pieces.push(bytes.toString());
      parser.stop();
    },
  });
  parser.read(Buffer.from(`${CHUNKED}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`));
  assert.deepEqual([pieces, parser.isDone], [['a'], true]);
});
