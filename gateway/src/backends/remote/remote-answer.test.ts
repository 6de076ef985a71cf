// Guards how an answer's bytes are taken: by the type that its head names, by its first byte where that says nothing, and
// never more of it than its bound.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../../core/errors.ts';
import { RemoteAnswer } from './remote-answer.ts';

interface Taken {
  /** What the parser was given, as `kind:text`. */
  readonly parts: string[];
  /** Statuses and bodies that errors were made of. */
  readonly refusals: string[];
  heard: number;
}

/** Pushes the pieces through, and the end. */
function take(
  status: number,
  contentType: string | undefined,
  pieces: Iterable<string | Buffer>,
  taken: Taken = { parts: [], refusals: [], heard: 0 },
): Taken {
  const answer = new RemoteAnswer({
    parser: {
      data: (text, event) => taken.parts.push(`${event || 'data'}:${text}`),
      known: (_bytes, at) => at,
      whole: (text) => taken.parts.push(`whole:${text}`),
    },
    onBytes: () => {
      taken.heard += 1;
    },
    errorOf: (code, _headers, body) => {
      taken.refusals.push(`${code}:${body}`);
      return new GatewayError('backend_refused', 'It was refused.');
    },
  });
  answer.head(status, contentType === undefined ? {} : { 'content-type': contentType });
  for (const piece of pieces) answer.data(Buffer.from(piece));
  answer.end();
  return taken;
}

const EVENTS = 'data: {"a":1}\n\nevent: error\ndata: no\n\n';
const AS_EVENTS = ['data:{"a":1}', 'error:no'];

test('the type of the head says how it is read', () => {
  for (const [type, body, parts] of [
    ['text/event-stream', EVENTS, AS_EVENTS],
    ['Text/Event-Stream; charset=utf-8', EVENTS, AS_EVENTS],
    ['application/x-ndjson', '{"a":1}\n{"b":2}', ['data:{"a":1}', 'data:{"b":2}']],
    ['application/jsonl', '{"a":1}\n', ['data:{"a":1}']],
    ['application/json', '{"a":1}\n', ['whole:{"a":1}\n']],
    ['application/json; charset=utf-8', '\n\n\n{"a":1}', ['whole:\n\n\n{"a":1}']],
  ] as const) {
    assert.deepEqual(take(200, type, [body]).parts, parts, type);
    const bytes = [...Buffer.from(body)].map((byte) => Buffer.of(byte));
    assert.deepEqual(take(200, type, bytes).parts, parts, `${type}, byte by byte`);
  }
});

test('where the type says nothing, the first byte does', () => {
  for (const type of [undefined, '', 'text/plain', 'application/octet-stream', 'image/png']) {
    assert.deepEqual(take(200, type, [EVENTS]).parts, AS_EVENTS, String(type));
    assert.deepEqual(take(200, type, [' \r\n', '\t', '{"a":1}']).parts, ['whole:{"a":1}'], String(type));
    assert.deepEqual(take(200, type, ['\n\n']).parts, [], `${type}: nothing came`);
  }
});

test('a web page is no answer, whatever it calls itself', () => {
  const page = { code: 'backend_failed', message: 'The back end sent a web page instead of an answer.' };
  assert.throws(() => take(200, 'text/html; charset=utf-8', []), page);
  assert.throws(() => take(200, 'text/plain', ['\n  <!doctype html>']), page);
});

test('characters that are cut between pieces come whole; one mark at the beginning is dropped', () => {
  const bytes = Buffer.from('\ufeff{"a":"北\ufeff🌍"}');
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const { parts } = take(200, 'application/json', [bytes.subarray(0, cut), bytes.subarray(cut)]);
    assert.deepEqual(parts, ['whole:{"a":"北\ufeff🌍"}'], `at ${cut}`);
  }
});

test('an answer as JSON that is blank to its end is a failure', () => {
  const empty = { code: 'backend_failed', message: 'The back end sent an empty answer.' };
  assert.throws(() => take(200, 'application/json', []), empty);
  assert.throws(() => take(200, 'application/json', ['\n', '\n']), empty);
});

test('any other status is an error, made of the body when all of it is there', () => {
  for (const status of [201, 204, 400, 429, 500]) {
    const taken: Taken = { parts: [], refusals: [], heard: 0 };
    const refused = { code: 'backend_refused' };
    assert.throws(() => take(status, 'text/event-stream', ['{"error":', '"no"}'], taken), refused);
    assert.deepEqual(taken.refusals, [`${status}:{"error":"no"}`]);
    assert.deepEqual([taken.parts, taken.heard], [[], 0], 'it is no sign of an answer');
  }
  const bare: Taken = { parts: [], refusals: [], heard: 0 };
  assert.throws(() => take(502, undefined, [], bare));
  assert.deepEqual(bare.refusals, ['502:']);
});

test('of an error only a beginning is read', () => {
  const taken: Taken = { parts: [], refusals: [], heard: 0 };
  let given = 0;
  function* endless(): Iterable<string> {
    for (; given < 1_000; given += 1) yield 'x'.repeat(30 * 1024);
  }
  assert.throws(() => take(500, 'text/plain', endless(), taken), { code: 'backend_refused' });
  assert.ok(given < 4, `it was given ${given} pieces, and waits for the end`);
  assert.equal(taken.refusals.length, 1);
  assert.ok(taken.refusals[0]!.length <= 64 * 1024 + 4);
});

test('an answer as JSON has a bound, and all below it is taken', () => {
  const mebibyte = Buffer.alloc(2 ** 20, ' ');
  const pieces = Array<Buffer>(63).fill(mebibyte);
  assert.equal(take(200, 'application/json', [...pieces, '{}']).parts.length, 1);
  assert.throws(() => take(200, 'application/json', Array(65).fill(mebibyte)), {
    code: 'backend_failed',
    message: 'The back end sent an answer that is larger than any can be.',
  });
});

test('bytes of an answer are told of, each time they come', () => {
  assert.equal(take(200, 'text/event-stream', [': keep-alive\n\n', ': keep-alive\n\n']).heard, 2);
  assert.equal(take(200, undefined, ['\n', 'data: 1\n\n']).heard, 1, 'blanks before it decide nothing yet');
});
