// Guards the reading of requests: the same whatever way the network cut them, one after the other, and nothing that somebody in
// front of us could take for other requests.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { HeadTooLarge, MalformedHttp } from '../../wire/http/head.ts';
import { type RequestHead, RequestParser } from './request-parser.ts';

interface Read {
  readonly head: RequestHead;
  readonly body: string;
}

/** Gives the bytes in pieces that end at `cuts`; the requests that came whole, and what is left. */
function readIn(bytes: Buffer, cuts: readonly number[]): { requests: Read[]; isIdle: boolean } {
  const requests: Read[] = [];
  let head: RequestHead | undefined;
  let body = '';
  const parser = new RequestParser({
    head: (one) => {
      head = one;
      body = '';
    },
    data: (data) => (body += data.toString('latin1')),
  });
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    let piece = bytes.subarray(start, end);
    start = end;
    while (piece.length > 0) {
      piece = piece.subarray(parser.read(piece));
      if (!parser.isDone) continue;
      requests.push({ head: head!, body });
      parser.next();
    }
  }
  return { requests, isIdle: parser.isIdle };
}

const byteByByte = (length: number) => Array.from({ length: length - 1 }, (_, index) => index + 1);

/** Every way to cut it into two, and byte by byte. */
function readInAllWays(text: string): Read[] {
  const bytes = Buffer.from(text, 'latin1');
  const whole = readIn(bytes, []);
  for (let at = 1; at < bytes.length; at += 1) assert.deepEqual(readIn(bytes, [at]), whole, `cut at ${at}`);
  assert.deepEqual(readIn(bytes, byteByByte(bytes.length)), whole);
  assert.equal(whole.isIdle, true);
  return whole.requests;
}

const POST = 'POST / HTTP/1.1\r\nhost: x\r\n';
const CHUNKED = `${POST}transfer-encoding: chunked\r\n\r\n`;

describe('requests, wherever they are cut', () => {
  test('without a body, with a length, and in chunks, one behind the other', () => {
    const requests = readInAllWays(
      `GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n${POST}Content-Length: 5\r\n\r\nsome\n${CHUNKED}1\r\na\r\n0A;x="y"\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n`,
    );
    assert.deepEqual(
      requests.map(({ head, body }) => [head.method, head.target, head.hasBody, body]),
      [
        ['GET', '/a?b=c', false, ''],
        ['POST', '/', true, 'some\n'],
        ['POST', '/', true, 'a0123456789'],
      ],
    );
  });

  test('with blank lines before them', () => {
    assert.equal(readInAllWays(`\r\n\r\n${POST}\r\n\r\n${POST}\r\n`).length, 2);
  });

  test('with headers in any case, several of one name, and any name', () => {
    const [read] = readInAllWays(
      `${POST}X-Kind:a\r\nx-kind:  b \r\n__proto__: c\r\nConstructor: \xe9\r\n\r\n`,
    );
    assert.deepEqual(Object.entries(read!.head.headers), [
      ['host', 'x'],
      ['x-kind', 'a, b'],
      ['__proto__', 'c'],
      ['constructor', '\xe9'],
    ]);
  });
});

test('any requests are read as they were written', () => {
  const request = fc.record({
    isChunked: fc.boolean(),
    pieces: fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 }), { maxLength: 6 }),
    target: fc.stringMatching(/^\/[!-~\xa1-\xff]{0,20}$/),
    headers: fc.array(
      fc.tuple(
        fc.stringMatching(/^[xX]-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}$/),
        fc.stringMatching(/^[!-~\xa1-\xff]*$/),
      ),
      { maxLength: 4 },
    ),
  });
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 3 }), fc.array(fc.nat()), (all, places) => {
      const written = all.map(({ isChunked, pieces, target, headers }) => {
        const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
        const body = pieces.join('');
        const framing = isChunked ? 'transfer-encoding: Chunked' : `content-length: ${body.length}`;
        const chunks = pieces.map((one) => `${one.length.toString(16)}\r\n${one}\r\n`).join('');
        return `POST ${target} HTTP/1.1\r\nhost: x\r\n${lines}${framing}\r\n\r\n${isChunked ? `${chunks}0\r\n\r\n` : body}`;
      });
      const bytes = Buffer.from(written.join(''), 'latin1');
      const cuts = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
      const { requests } = readIn(bytes, cuts);
      assert.deepEqual(
        requests.map(({ head, body }) => [head.target, body]),
        all.map(({ target, pieces }) => [target, pieces.join('')]),
      );
    }),
  );
});

test('what a request wants of its connection', () => {
  for (const [lines, keepsAlive, awaitsContinue] of [
    ['POST / HTTP/1.1\r\nhost: x', true, false],
    ['POST / HTTP/1.1\r\nhost: x\r\nConnection: x, Close', false, false],
    ['POST / HTTP/1.0', false, false],
    ['POST / HTTP/1.0\r\nconnection: Keep-Alive', true, false],
    ['POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-Continue', true, false],
    ['POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-Continue\r\ncontent-length: 1', true, true],
    ['POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1', false, false],
  ] as const) {
    const { head } = readIn(
      Buffer.from(`${lines}\r\n\r\nx`.slice(0, lines.length + (lines.includes('length') ? 5 : 4))),
      [],
    ).requests[0]!;
    assert.deepEqual([head.keepsAlive, head.awaitsContinue], [keepsAlive, awaitsContinue], lines);
  }
});

test('what is no request, or could be read as another one', () => {
  const head = (lines: string) => `${POST}${lines}\r\n\r\n`;
  for (const text of [
    '\x16\x03\x01\x02\x00',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET / HTTP/1.2\r\nhost: x\r\n\r\n',
    'GET /\r\n\r\n',
    'GET  / HTTP/1.1\r\nhost: x\r\n\r\n',
    'GET / HTTP/1.1 \r\nhost: x\r\n\r\n',
    'GET /a b HTTP/1.1\r\nhost: x\r\n\r\n',
    'GET /\x7f HTTP/1.1\r\nhost: x\r\n\r\n',
    'G(T / HTTP/1.1\r\nhost: x\r\n\r\n',
    'helloGET / HTTP/1.1\r\nhost: x\r\n\r\n',
    'GET / HTTP/1.1\nhost: x\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n',
    'GET / HTTP/1.0\r\nhost: x, y\r\n\r\n',
    ' GET / HTTP/1.1\r\nhost: x\r\n\r\n',
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
    head('content-length: +1'),
    head('content-length: 0x1'),
    head('content-length: '),
    head('content-length: 9999999999999999'),
    head('content-length: 4\r\ntransfer-encoding: chunked'),
    head('transfer-encoding: gzip, chunked'),
    head('transfer-encoding: identity'),
    head('transfer-encoding: \x0bchunked'),
    head('transfer-encoding: \xa0chunked'),
    head('transfer-encoding: chunked\r\ntransfer-encoding: chunked'),
    'POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n',
    `${CHUNKED}zz\r\n`,
    `${CHUNKED}\r\n`,
    `${CHUNKED} 1\r\na\r\n`,
    `${CHUNKED}1\na\r\n`,
    `${CHUNKED}1\r\nab\r\n`,
    `${CHUNKED}1;x\ny\r\na\r\n`,
    `${CHUNKED}00000000000001\r\na\r\n`,
    `${CHUNKED}0\r\n\rx`,
    `${CHUNKED}0\r\nx: 1\n\r\n`,
    `${CHUNKED}0\r\n\n`,
    `${CHUNKED}0\r\nx: 1\ry\r\n\r\n`,
    `${CHUNKED}0\r\n x: 1\r\n\r\n`,
  ]) {
    assert.throws(() => readIn(Buffer.from(text, 'latin1'), []), MalformedHttp, JSON.stringify(text));
    const cuts = byteByByte(text.length);
    assert.throws(() => readIn(Buffer.from(text, 'latin1'), cuts), MalformedHttp, JSON.stringify(text));
  }
});

test('heads have a bound, and so has what nobody reads', () => {
  const much = 'a'.repeat(20_000);
  for (const [text, fault] of [
    [`${POST}x: ${much}`, HeadTooLarge],
    [`GET /${much}`, HeadTooLarge],
    [`${CHUNKED}1;${much}`, MalformedHttp],
    [`${CHUNKED}0\r\n${'x: 1\r\n'.repeat(4_000)}`, MalformedHttp],
  ] as const) {
    assert.throws(() => readIn(Buffer.from(text), []), fault);
    assert.throws(() => readIn(Buffer.from(text), byteByByte(text.length)), fault);
  }
});
