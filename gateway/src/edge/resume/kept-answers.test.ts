// Guards the bounds of what is kept, on a clock that stands still: who finds what, for how long, and what goes when memory is short.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import { ManualClock } from '../../../test/manual-clock.ts';
import { GatewayError } from '../../core/errors.ts';
import { hashKey } from '../access.ts';
import type { Guise, KeptAnswer } from './kept-answer.ts';
import { type Compute, KeptAnswers, type KeptAnswersOptions } from './kept-answers.ts';

const alice = { digest: hashKey('alice') };
const bob = { digest: hashKey('bob') };
const guise: Guise = {
  isStream: true,
  contentType: 'text/event-stream; charset=utf-8',
  isNumbered: true,
  headers: () => ({}),
  errorHeaders: () => ({}),
  dialect: {},
};
const GRACE_MS = 1_000;
const KEEP_MS = 10_000;

function makeStore(rest: Partial<KeptAnswersOptions> = {}) {
  const clock = new ManualClock();
  const store = new KeptAnswers({
    clock,
    graceMs: GRACE_MS,
    keepMs: KEEP_MS,
    bufferBytes: 64 * 1024,
    memoryBytes: 1024 * 1024,
    ...rest,
  });
  return { clock, store };
}

/** A compute that the test ends; it fails with its signal's reason when that is aborted. */
function controlled() {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const compute: Compute = ({ signal }) => {
    signal.addEventListener('abort', () => reject(signal.reason));
    return promise;
  };
  return { compute, end: resolve, fail: reject };
}

const codeOf = (find: () => unknown): string => {
  try {
    find();
  } catch (thrown) {
    return (thrown as GatewayError).code;
  }
  return 'found';
};

test('only its owner finds a stream; to others it was never there', () => {
  const { store } = makeStore();
  const kept = store.begin(alice, guise, undefined, controlled().compute)!;
  assert.equal(store.find(kept.id, { digest: hashKey('alice') }), kept);
  assert.equal(
    codeOf(() => store.find(kept.id, bob)),
    'not_found',
  );
  assert.equal(
    codeOf(() => store.find('x'.repeat(24), alice)),
    'not_found',
  );
  store.close();
});

test('without a reader it is cancelled after the grace, and not while somebody reads', async () => {
  const { clock, store } = makeStore();
  const kept = store.begin(alice, guise, undefined, controlled().compute)!;
  const follower = kept.follow();
  clock.advance(3 * GRACE_MS);
  assert.equal(kept.signal.aborted, false);
  follower.leave();
  clock.advance(GRACE_MS - 1);
  assert.equal(kept.signal.aborted, false);
  kept.follow().leave();
  clock.advance(GRACE_MS - 1);
  assert.equal(kept.signal.aborted, false, 'a reader has been there meanwhile');
  clock.advance(GRACE_MS);
  assert.equal((kept.signal.reason as GatewayError).code, 'cancelled');
  await settled();
  assert.equal(store.running, 0);
  assert.equal(kept.failure?.code, 'cancelled');
  store.close();
});

test('a finished one stays for its time and is then known to be gone; no timer is left', async () => {
  const { clock, store } = makeStore();
  const { compute, end } = controlled();
  const kept = store.begin(alice, guise, undefined, compute)!;
  kept.add(['words'], true);
  end();
  await settled();
  assert.equal(kept.isRunning, false);
  clock.advance(KEEP_MS - 1);
  assert.equal(store.find(kept.id, alice), kept);
  assert.ok(store.bytes > 0);
  clock.advance(2 * GRACE_MS);
  assert.equal(
    codeOf(() => store.find(kept.id, alice)),
    'stream_gone',
  );
  assert.equal(
    codeOf(() => store.find(kept.id, bob)),
    'not_found',
  );
  assert.deepEqual([store.count, store.bytes, clock.pendingTimers], [0, 0, 0]);
});

test('what is read when its time is over stays until that reader has left', async () => {
  const { clock, store } = makeStore();
  const { compute, end } = controlled();
  const kept = store.begin(alice, guise, undefined, compute)!;
  kept.add(['words'], true);
  end();
  await settled();
  const follower = kept.follow();
  clock.advance(2 * KEEP_MS);
  assert.equal(kept.buffer.read(1)?.bytes.toString(), 'words');
  follower.leave();
  clock.advance(GRACE_MS);
  assert.equal(store.count, 0);
});

test('where memory is short the one that ended first goes, and what still runs keeps its newest', async () => {
  const { store } = makeStore({ memoryBytes: 64 * 1024 });
  const finished: KeptAnswer[] = [];
  for (let index = 0; index < 8; index += 1) {
    const { compute, end } = controlled();
    const kept = store.begin(alice, guise, undefined, compute)!;
    kept.add(['x'.repeat(4_000)], true);
    finished.push(kept);
    end();
    await settled();
  }
  const running = store.begin(alice, guise, undefined, controlled().compute)!;
  for (let index = 0; index < 40; index += 1) running.add(['y'.repeat(1_000)], true);
  assert.ok(store.bytes <= 64 * 1024, `${store.bytes} bytes`);
  assert.equal(
    codeOf(() => store.find(finished[0]!.id, alice)),
    'stream_gone',
  );
  assert.equal(
    codeOf(() => store.find(running.id, alice)),
    'found',
  );
  assert.equal(running.buffer.next, 41);
  store.close();
});

test('with no memory nothing is kept, and nothing begun', () => {
  const { store } = makeStore({ memoryBytes: 0 });
  assert.equal(
    store.begin(alice, guise, undefined, () => assert.fail('it was begun')),
    undefined,
  );
});

test('a name finds what it began, while it runs and when it has ended; another request by it is refused', async () => {
  const { store } = makeStore();
  const { compute, end } = controlled();
  const name = { name: 'alice chat 1', fingerprint: 'a' };
  assert.equal(store.named(name), undefined);
  const kept = store.begin(alice, guise, name, compute)!;
  assert.equal(store.named(name), kept);
  kept.add(['words'], true);
  end();
  await settled();
  assert.equal(store.named(name), kept);
  assert.equal(
    codeOf(() => store.named({ ...name, fingerprint: 'b' })),
    'idempotency_mismatch',
  );
});

test('a name is forgotten with an answer that failed before its first word, and with one that was cancelled', async () => {
  const { store } = makeStore();
  const name = { name: 'alice chat 1', fingerprint: 'a' };
  const first = controlled();
  store.begin(alice, guise, name, first.compute)!.add(['silence'], false);
  first.fail(new GatewayError('backend_failed', 'It died.'));
  await settled();
  assert.equal(store.named(name), undefined);

  const second = controlled();
  const kept = store.begin(alice, guise, name, second.compute)!;
  kept.add(['words'], true);
  second.fail(new GatewayError('backend_failed', 'It died.'));
  await settled();
  assert.equal(store.named(name), kept, 'after its first word it is an answer');

  const other = { name: 'alice chat 2', fingerprint: 'a' };
  const third = store.begin(alice, guise, other, controlled().compute)!;
  third.add(['words'], true);
  store.remove(third, new GatewayError('cancelled', 'Not wanted.'));
  assert.equal(store.named(other), undefined);
  store.close();
});

test('what is removed is found no more, and its reader still reads its end', async () => {
  const { clock, store } = makeStore();
  const kept = store.begin(alice, guise, undefined, controlled().compute)!;
  kept.add(['words'], true);
  const follower = kept.follow();
  store.remove(kept, new GatewayError('cancelled', 'Not wanted.'));
  assert.equal(
    codeOf(() => store.find(kept.id, alice)),
    'stream_gone',
  );
  await settled();
  clock.advance(GRACE_MS);
  assert.equal(kept.buffer.read(1)?.bytes.toString(), 'words');
  follower.leave();
  clock.advance(GRACE_MS);
  assert.deepEqual([store.count, store.bytes], [0, 0]);
});

test('followers hear of what comes, of the end and of their own leaving, each for itself', async () => {
  const { store } = makeStore();
  const { compute, end } = controlled();
  const kept = store.begin(alice, guise, undefined, compute)!;
  const one = kept.follow();
  const two = kept.follow();
  const heard: string[] = [];
  const listen = (name: string, news: Promise<void>) => void news.then(() => heard.push(name));
  listen('one', one.news());
  listen('two', two.news());
  one.leave();
  await settled();
  assert.deepEqual(heard.splice(0), ['one']);
  kept.add(['words'], true);
  await settled();
  assert.deepEqual(heard.splice(0), ['two']);
  listen('two', two.news());
  listen('one', one.news());
  end();
  await settled();
  assert.deepEqual(heard.sort(), ['one', 'two']);
  store.close();
});
