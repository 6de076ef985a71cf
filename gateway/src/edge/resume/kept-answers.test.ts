// Guards the bounds of what is kept, on a clock that stands still: who finds what, for how long, and what goes when memory is short.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import fc from 'fast-check';
import { ManualClock } from '../../../test/manual-clock.ts';
import { GatewayError } from '../../core/errors.ts';
import { hashKey } from '../access/access.ts';
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

/** An answer of so many bytes that has ended. */
async function finished(store: KeptAnswers, owner: typeof alice, bytes: number): Promise<KeptAnswer> {
  const { compute, end } = controlled();
  const kept = store.begin(owner, guise, undefined, compute) ?? assert.fail('there is no room');
  if (bytes > 0) kept.add(['x'.repeat(bytes)], true);
  end();
  await settled();
  return kept;
}

test("a key that floods pushes out its own answers, and no other's", async () => {
  const { store } = makeStore({ memoryBytes: 256 * 1024 });
  const bobs = [await finished(store, bob, 30_000), await finished(store, bob, 30_000)];
  for (let count = 0; count < 200; count += 1) await finished(store, alice, 30_000);
  for (const { id } of bobs) assert.equal(store.find(id, bob).id, id);
  assert.ok(store.bytes <= 256 * 1024, `${store.bytes} bytes`);
  store.close();
});

test('neither does one that floods with answers of nothing, of which only so many may be', async () => {
  const { store } = makeStore();
  const kept = await finished(store, bob, 0);
  let last: KeptAnswer | undefined;
  for (let count = 0; count < 10_001; count += 1) last = await finished(store, alice, 0);
  assert.equal(store.count, 10_000);
  assert.equal(store.find(kept.id, bob), kept);
  assert.equal(store.find(last!.id, alice), last);
  store.close();
});

test('whoever has little gets room of who has most', async () => {
  const { store } = makeStore({ memoryBytes: 256 * 1024 });
  for (let count = 0; count < 20; count += 1) await finished(store, alice, 30_000);
  const kept = [await finished(store, bob, 30_000), await finished(store, bob, 30_000)];
  for (const one of kept) assert.equal(store.find(one.id, bob), one);
  store.close();
});

const owners = ['a', 'b', 'c', 'd'].map((name) => ({ digest: hashKey(name) }));
/** What a key does: it begins an answer, and perhaps ends it, perhaps with somebody who goes on reading it. */
const step = fc.record({
  owner: fc.nat(owners.length - 1),
  bytes: fc.nat(20_000),
  doesEnd: fc.boolean(),
  isRead: fc.boolean(),
});

test('nobody loses an answer for a key that then holds more', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      const memoryBytes = 128 * 1024;
      const { store } = makeStore({ memoryBytes });
      const all: { readonly owner: number; readonly kept: KeptAnswer }[] = [];
      const isThere = ({ owner, kept }: (typeof all)[number]) =>
        codeOf(() => store.find(kept.id, owners[owner]!)) === 'found';
      const heldBy = (of: number) =>
        all.filter(({ owner }) => owner === of).reduce((sum, { kept }) => sum + kept.buffer.bytes, 0);
      /** What takes memory for the owner, and what others lose by it. */
      const taking = (asker: number, take: () => void) => {
        const there = all.filter(isThere);
        const before = owners.map((_, of) => heldBy(of));
        take();
        for (const { owner, kept } of there.filter((one) => !isThere(one))) {
          assert.equal(kept.isRunning || kept.isRead, false, 'what is in use stays');
          const [had, holds] = [before[owner]!, heldBy(asker)];
          assert.ok(owner === asker || had > holds, `${had} bytes gave way to ${holds}`);
        }
      };
      for (const { owner, bytes, doesEnd, isRead } of steps) {
        const { compute, end } = controlled();
        let kept: KeptAnswer | undefined;
        taking(owner, () => {
          kept = store.begin(owners[owner]!, guise, undefined, compute);
        });
        if (!kept) continue;
        const begun: KeptAnswer = kept;
        all.push({ owner, kept: begun });
        if (isRead) begun.follow();
        taking(owner, () => begun.add(['x'.repeat(bytes)], true));
        if (doesEnd) end();
        await settled();
      }
      const held = all.reduce((sum, { kept }) => sum + kept.buffer.bytes, 0);
      assert.equal(store.bytes, held, 'its count of bytes');
      store.close();
      await settled();
    }),
    { numRuns: 100 },
  );
});

test('what is one piece and larger than an answer may be is for who waits for it, and not for who asks later', async () => {
  const { clock, store } = makeStore({ bufferBytes: 8 * 1024 });
  const name = { name: 'alice vectors 1', fingerprint: 'a' };
  const { compute, end } = controlled();
  const kept = store.begin(alice, { ...guise, isNumbered: false }, name, compute)!;
  const follower = kept.follow();
  kept.add(['x'.repeat(5_000), 'y'.repeat(5_000)], true);
  assert.equal(store.named(name), kept);
  end();
  await settled();
  assert.equal(store.named(name), undefined);
  clock.advance(GRACE_MS);
  assert.equal(kept.buffer.read(1)?.bytes.length, 5_000, 'its reader still reads it');
  follower.leave();
  clock.advance(GRACE_MS);
  assert.deepEqual([store.count, store.bytes], [0, 0]);
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
