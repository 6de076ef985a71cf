// Guards one connection's bounds and timers, on a clock and a socket that do only what a test says.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate as turned } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { framesIn } from '../../../test/e2e/socket-client.ts';
import { ManualClock } from '../../../test/manual-clock.ts';
import { GatewayError } from '../../core/errors.ts';
import type { Guise, KeptAnswer } from '../resume/kept-answer.ts';
import { KeptAnswers } from '../resume/kept-answers.ts';
import { type ConnectionOptions, SocketConnection } from './connection.ts';

const SLOW_READER_MS = 1_000;
const GRACE_MS = 500;
const OWNER = { digest: Buffer.alloc(0) };
const GUISE: Guise = {
  isStream: true,
  contentType: 'application/x-ndjson',
  isNumbered: false,
  headers: () => ({ 'x-sluice-backend': 'b', 'content-type': 'application/x-ndjson' }),
  errorHeaders: () => ({}),
  dialect: {},
};

/** Of `net`: takes what it is told to take. */
class FakeSocket extends EventEmitter {
  bytesRead = 0;
  writableLength = 0;
  writableNeedDrain = false;
  readonly #onWrite: (texts: readonly string[]) => void;

  constructor(onWrite: (texts: readonly string[]) => void) {
    super();
    this.#onWrite = onWrite;
  }

  write(bytes: Buffer) {
    this.#onWrite(framesIn(bytes).map(({ payload }) => payload.toString()));
    return !this.writableNeedDrain;
  }
}

/** Of `ws`. */
class FakeWebSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  isPaused = false;
  pingCount = 0;
  closedWith: number | undefined;
  isCut = false;
  readonly sent: { type: string; id?: string; data?: unknown; reason?: string }[] = [];

  ping() {
    this.pingCount += 1;
  }

  close(code: number) {
    this.readyState = 2;
    this.closedWith = code;
  }

  terminate() {
    this.isCut = true;
    this.readyState = 3;
    this.emit('close');
  }

  pause() {
    this.isPaused = true;
  }

  resume() {
    this.isPaused = false;
  }
}

function make() {
  const clock = new ManualClock();
  const kept = new KeptAnswers({
    clock,
    graceMs: GRACE_MS,
    keepMs: 10_000,
    bufferBytes: 64 * 1024,
    memoryBytes: 1024 * 1024,
  });
  /** How many more writes it takes. */
  let taken = Number.POSITIVE_INFINITY;
  const ws = new FakeWebSocket();
  const socket = new FakeSocket((texts) => {
    ws.sent.push(...texts.map((text) => JSON.parse(text)));
    taken -= 1;
    socket.writableNeedDrain = taken <= 0;
  });
  const options = {
    clock,
    kept,
    slowReaderLimitMs: SLOW_READER_MS,
    observer: {},
    access: { corsOrigins: [] },
    log: () => {},
    count: () => {},
    world: () => ({ models: new Map(), keys: [] }),
    quotas: { standing: () => ({}) },
    readiness: () => ({ state: 'ready', reason: '' }),
  } as unknown as ConnectionOptions;
  const connection = new SocketConnection(
    ws as unknown as WebSocket,
    socket as unknown as Socket,
    { host: 'localhost' },
    options,
  );
  const hear = (frame: object) => ws.emit('message', Buffer.from(JSON.stringify(frame)), false);
  /** An answer that the test makes, read by a call of this id. */
  const answer = (id: string) => {
    const end = Promise.withResolvers<void>();
    const begun = kept.begin(OWNER, GUISE, undefined, ({ signal }) => {
      signal.addEventListener('abort', () => end.reject(signal.reason));
      return end.promise;
    })!;
    hear({ type: 'resume', id, stream: begun.id, after: 0 });
    return { kept: begun, end: end.resolve, say: (text: string) => begun.add([`{"t":"${text}"}\n`], true) };
  };
  const takes = (writes: number) => {
    taken = writes;
    socket.writableNeedDrain = writes <= 0;
    socket.emit('drain');
  };
  return { clock, kept, socket, ws, connection, hear, answer, takes, settled: () => settle() };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await turned();
}

const said = (ws: FakeWebSocket) =>
  ws.sent.map(({ type, id, data }) =>
    type === 'event' ? `${id}:${(data as { t: string }).t}` : `${id}:${type}`,
  );

test('calls have their turns one event each, whoever has more to say', async () => {
  const { ws, answer, takes, settled } = make();
  takes(0);
  const long = answer('long');
  const short = answer('short');
  for (let piece = 0; piece < 4; piece += 1) long.say(`${piece}`);
  short.say('all');
  short.end();
  await settled();
  assert.deepEqual(ws.sent, [], 'nothing is sent ahead');
  takes(Number.POSITIVE_INFINITY);
  await settled();
  assert.deepEqual(said(ws), [
    'long:head',
    'short:head',
    'long:0',
    'short:all',
    'long:1',
    'short:end',
    'long:2',
    'long:3',
  ]);
  long.end();
  await settled();
  assert.equal(said(ws).at(-1), 'long:end');
});

test('a client that stops reading holds up its calls, and is closed after the limit; one that goes on is not', async () => {
  const { clock, ws, answer, takes, settled } = make();
  const call = answer('1');
  await settled();
  takes(1);
  call.say('0');
  await settled();
  call.say('1');
  await settled();
  assert.deepEqual(said(ws), ['1:head', '1:0']);
  clock.advance(SLOW_READER_MS - 1);
  takes(1);
  await settled();
  assert.deepEqual(said(ws), ['1:head', '1:0', '1:1']);
  clock.advance(SLOW_READER_MS - 1);
  assert.equal(ws.closedWith, undefined);
  clock.advance(1);
  assert.equal(ws.closedWith, 1013);
  assert.equal(call.kept.isRead, false);
  assert.equal(call.kept.isRunning, true, 'its answer is for who resumes');
  clock.advance(2_000);
  assert.equal(ws.isCut, true, 'who does not read does not close either');
  clock.advance(2 * GRACE_MS);
  assert.equal((call.kept.signal.reason as GatewayError).code, 'cancelled');
});

test('where answers to its frames pile up the client is not heard, until it has read', () => {
  const { ws, socket, hear, takes } = make();
  takes(1);
  hear({ type: 'ping' });
  assert.equal(ws.isPaused, false);
  socket.writableLength = 2 * 1024 * 1024;
  hear({ type: 'ping' });
  assert.equal(ws.isPaused, true);
  socket.writableLength = 0;
  takes(10);
  assert.equal(ws.isPaused, false);
});

test('a silent client is asked twice and then cut; one that says anything, or does not read, is not', () => {
  const { ws, socket, connection, hear, takes } = make();
  for (let beat = 0; beat < 10; beat += 1) {
    connection.beat();
    socket.bytesRead += 6;
  }
  assert.deepEqual([ws.pingCount, ws.isCut], [10, false]);
  takes(1);
  hear({ type: 'ping' });
  for (let beat = 0; beat < 10; beat += 1) connection.beat();
  assert.deepEqual([ws.pingCount, ws.isCut], [10, false]);
  takes(10);
  connection.beat();
  connection.beat();
  assert.equal(ws.isCut, false);
  connection.beat();
  connection.beat();
  assert.equal(ws.isCut, true);
});

test('whatever ends a connection, no timer and no reader is left', async () => {
  for (const endIt of [
    ({ ws }: ReturnType<typeof make>) => ws.terminate(),
    ({ connection }: ReturnType<typeof make>) => connection.cut(),
    ({ connection, ws }: ReturnType<typeof make>) => {
      connection.goAway(1_000);
      ws.terminate();
    },
    ({ ws, hear }: ReturnType<typeof make>) => {
      for (let fault = 0; fault < 20; fault += 1) hear([]);
      assert.equal(ws.closedWith, 1008);
      ws.terminate();
    },
    ({ ws }: ReturnType<typeof make>) => {
      ws.emit('message', Buffer.from('{}'), true);
      assert.equal(ws.closedWith, 1003);
      ws.terminate();
    },
  ]) {
    const made = make();
    const calls = [made.answer('1'), made.answer('2')];
    await made.settled();
    made.takes(1);
    for (const call of calls) call.say('more than is read');
    await made.settled();
    endIt(made);
    await made.settled();
    assert.ok(calls.every(({ kept }) => !kept.isRead));
    for (const call of calls) call.end();
    await made.settled();
    made.kept.close();
    assert.equal(made.clock.pendingTimers, 0);
  }
});

test('a cancelled answer that somebody else reads goes on for them', async () => {
  const { kept, ws, hear, answer, settled } = make();
  const call = answer('1');
  await settled();
  const other = call.kept.follow();
  hear({ type: 'cancel', id: '1' });
  assert.deepEqual(said(ws), ['1:head', '1:end']);
  assert.equal(call.kept.signal.aborted, false);
  other.leave();
  kept.close();
});

test('what fell out of the buffer before it was read ends the call, and no other', async () => {
  const { ws, answer, takes, settled } = make();
  const call = answer('1');
  const good = answer('2');
  await settled();
  takes(0);
  for (let piece = 0; piece < 200; piece += 1) call.say('x'.repeat(1_000));
  good.say('well');
  good.end();
  takes(Number.POSITIVE_INFINITY);
  await settled();
  const error = ws.sent.find(({ type }) => type === 'error') as unknown as { error: { code: string } };
  assert.equal(error.error.code, 'slow_reader');
  assert.equal(ws.sent.find(({ id, type }) => id === '1' && type === 'end')!.reason, 'failed');
  assert.equal(ws.sent.find(({ id, type }) => id === '2' && type === 'end')!.reason, 'complete');
});

test('a server that goes away says so, lets open calls end, and closes then', async () => {
  const { ws, connection, answer, settled } = make();
  const call = answer('1');
  await settled();
  connection.goAway(5_000);
  assert.equal(connection.isBusy, true);
  assert.equal(ws.closedWith, undefined);
  call.say('last words');
  call.end();
  await settled();
  assert.deepEqual(said(ws), ['1:head', 'undefined:going_away', '1:last words', '1:end']);
  assert.equal(ws.closedWith, 1001);
  assert.equal(connection.isBusy, false);
});

/** What is kept would be removed under a reader. */
test('an answer that is taken away while it is read ends its call as cancelled', async () => {
  const { kept, ws, answer, settled } = make();
  const call = answer('1');
  await settled();
  kept.remove(call.kept as KeptAnswer, new GatewayError('cancelled', 'Not wanted.'));
  await settled();
  assert.deepEqual(
    ws.sent.map(({ type }) => type),
    ['head', 'error', 'end'],
  );
  assert.equal(ws.sent.at(-1)!.reason, 'cancelled');
});
