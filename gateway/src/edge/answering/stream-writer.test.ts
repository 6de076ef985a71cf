// What leaves in one piece: all that is there, and never more than a bound; nothing before the first word.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TokenEvent } from '../../core/chat.ts';
import { systemClock } from '../../core/clock.ts';
import { toGatewayError } from '../../core/errors.ts';
import { StreamLog } from '../../pipeline/stream-log.ts';
import type { StreamCodec } from '../../wire/dialect.ts';
import { serving } from '../http/http-testing.ts';
import type { Response } from '../http/response.ts';
import { ConnectionSink } from './connection-sink.ts';
import { writeStream } from './stream-writer.ts';

const text = (words: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: words });
const long = 'x'.repeat(20_000);
const codec: StreamCodec = {
  contentType: 'text/plain',
  event: (event) => (event.type === 'start' ? '<' : event.type === 'text-delta' ? event.text : ''),
  keepAlive: () => '\n',
  idleEvent: () => '\n',
  error: ({ code }) => `!${code}`,
  end: () => '>',
};

function answer(response: Response): void {
  const log = new StreamLog({ maxBytes: 1_000_000, clock: systemClock, onAbandoned: () => {} });
  log.push({ type: 'start', speaker: 'm' });
  setImmediate(() => {
    for (const words of ['a', '', 'b', long, 'c', long, 'd']) log.push(text(words));
    log.push({ type: 'finish', usage: {} });
    log.end();
  });
  void writeStream(log, {
    sink: new ConnectionSink({
      response,
      sendHead: () => response.begin(200, {}),
      slowReaderLimitMs: 60_000,
    }),
    codec,
    report: () => undefined,
    retold: toGatewayError,
    clock: systemClock,
    keepAliveMs: 60_000,
  });
}

test('what has come together leaves together, up to a bound', async () => {
  let text = '';
  await serving(
    (_request, response) => answer(response),
    async (port) => {
      const socket = connect(port, '127.0.0.1');
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      for await (const bytes of socket) text += (bytes as Buffer).toString('latin1');
    },
  );
  const [, , ...frames] = text.slice(text.indexOf('\r\n\r\n')).split(/\r\n(?:[\da-f]+\r\n)?/);
  assert.deepEqual(
    frames.filter((frame) => frame !== ''),
    [`<ab${long}`, `c${long}`, 'd', '>'],
  );
});
