// Guards the paced reader between a log and its writer: events in order, at their time; the end, a failure, a tool's call and
// a client that was away wait for nothing; leaving cancels at once and leaves no timer behind.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../../test/manual-clock.ts';
import type { TokenEvent } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { StreamLog } from '../../pipeline/stream-log.ts';
import { Pacer } from './pacer.ts';

const text = (words: string): TokenEvent => ({ type: 'text-delta', choice: 0, text: words });
const call: TokenEvent = { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{}' };
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp() {
  const clock = new ManualClock(1_000);
  let abandoned = 0;
  const log = new StreamLog({ maxBytes: 1_000_000, clock, onAbandoned: () => (abandoned += 1) });
  const pacer = new Pacer(log, clock);
  const cursor = pacer.read();
  const got: string[] = [];
  /** Reads as a writer does: all that may leave together. */
  const read = async () => {
    try {
      for await (const first of cursor) {
        const joined: string[] = [];
        for (let event: TokenEvent | undefined = first; event; event = pacer.takeReady()) {
          joined.push(event.type === 'text-delta' ? event.text : event.type);
        }
        got.push(joined.join(' '));
      }
      got.push('end');
    } catch (thrown) {
      got.push((thrown as GatewayError).code);
    }
  };
  const burst = async (words: string) => {
    for (const word of words.split(' ')) log.push(text(word));
    await turn();
  };
  const pass = async (ms: number) => {
    clock.advance(ms);
    await turn();
  };
  /** Two bursts of four, 200 ms apart, of which the second has shown its first piece: the rest goes every 45 ms. */
  const learn = async () => {
    await burst('a b c d');
    await pass(200);
    await burst('e f g h');
    assert.deepEqual(got.splice(0), ['a b c d', 'e']);
  };
  return { clock, log, cursor, got, read, burst, pass, learn, abandonedTimes: () => abandoned };
}

test('a burst leaves one by one, and a reader that keeps up is a reader that waits', async () => {
  const { log, got, read, pass, learn } = setUp();
  void read();
  await learn();
  for (const word of ['f', 'g', 'h']) {
    await pass(44);
    assert.deepEqual(got.splice(0), []);
    await pass(1);
    assert.deepEqual(got.splice(0), [word]);
  }
  assert.notEqual(log.readerWaitsSince, undefined);
});

test('the end lets all go, in order', async () => {
  const { clock, log, got, read, learn } = setUp();
  const reading = read();
  await learn();
  log.push({ type: 'choice-end', choice: 0, reason: 'stop' });
  log.push({ type: 'finish', usage: {} });
  log.end();
  await reading;
  assert.deepEqual(got, ['f g h choice-end finish', 'end']);
  assert.equal(clock.pendingTimers, 0);
});

test('a log that ends without a word about it lets all go, too', async () => {
  const { log, got, read, learn } = setUp();
  const reading = read();
  await learn();
  log.end();
  await reading;
  assert.deepEqual(got, ['f g h', 'end']);
});

test('a failure comes after what was there before it, at once', async () => {
  const { clock, log, got, read, learn } = setUp();
  const reading = read();
  await learn();
  log.fail(new GatewayError('backend_failed', 'broken'));
  await reading;
  assert.deepEqual(got, ['f g h', 'backend_failed']);
  assert.equal(clock.pendingTimers, 0);
});

test("a tool's call waits for nothing", async () => {
  const { log, got, read, learn } = setUp();
  void read();
  await learn();
  log.push(call);
  await turn();
  assert.deepEqual(got, ['f g h tool-call-delta']);
});

test('what came while the client took nothing goes at once, and stays in the log until then', async () => {
  const { clock, log, cursor, got, read, burst, pass } = setUp();
  await burst('a b');
  assert.deepEqual(await cursor.next(), { value: text('a'), done: false });
  await burst('c d');
  await pass(200);
  await burst('e f');
  assert.equal(log.readerWaitsSince, undefined);
  void read();
  await turn();
  assert.deepEqual(got, ['b c d e f']);
  assert.equal(clock.pendingTimers, 0);
});

test('leaving ends a pending read at once, cancels, and leaves no timer', async () => {
  const { clock, cursor, learn, read, abandonedTimes } = setUp();
  const reading = read();
  await learn();
  void cursor.return!();
  await reading;
  assert.equal(abandonedTimes(), 1);
  assert.equal(clock.pendingTimers, 0);
});
