// The hard case of a back end whose name moves to another address. Names are looked up by a function of this file's own,
// so it must be in place before anything else is loaded: hence a file, and a process, for one case.
import assert from 'node:assert/strict';
import dns, { type LookupOptions } from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import { mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const NAME = 'moving-back-end.test';
/** The look-up's life time is at most 30 s; the rest is for asking. */
const LIMIT_MS = 35_000;

let address = '127.0.0.1';
let lookups = 0;

type Callback = (error: Error | null, address: unknown, family?: number) => void;

const realLookup = dns.lookup as (name: string, options: LookupOptions, callback: Callback) => void;
mock.method(dns, 'lookup', (name: string, options: LookupOptions | Callback, callback?: Callback) => {
  const [asked, done] = typeof options === 'function' ? [{}, options] : [options, callback!];
  if (name !== NAME) {
    realLookup(name, asked, done);
    return;
  }
  lookups += 1;
  const found = { address, family: 4 };
  process.nextTick(() => (asked.all ? done(null, [found]) : done(null, found.address, found.family)));
});
mock.method(dns.promises, 'lookup', async (name: string, options: LookupOptions = {}) => {
  assert.equal(name, NAME, 'no other name is looked up here');
  lookups += 1;
  const found = { address, family: 4 };
  return options.all ? [found] : found;
});
syncBuiltinESMExports();

const { startUpstream } = await import('../upstream/faulty-upstream.ts');
const { choiceOf } = await import('./expectations.ts');
const { chatRequest } = await import('./play.ts');
const { withStage } = await import('./stage.ts');
const { streamOf } = await import('../upstream/answers.ts');

test('dns-moves', async (t) => {
  await withStage({ host: NAME }, async (stage) => {
    const { a } = stage;
    a.play(streamOf('old'));
    const fresh = await startUpstream({ host: '127.0.0.2', port: a.port });
    try {
      fresh.play(streamOf('new'));
      assert.equal(choiceOf(await stage.answer(chatRequest())).content, 'old');
      assert.ok(lookups > 0, 'the name is looked up here');
      address = '127.0.0.2';
      await a.close();
      const movedAt = performance.now();
      let content = '';
      while (content !== 'new' && performance.now() - movedAt < LIMIT_MS) {
        await sleep(200);
        content = choiceOf(await stage.answer(chatRequest())).content;
      }
      assert.equal(content, 'new', 'it stayed with the old address');
      t.diagnostic(`served by the new address after ${Math.round(performance.now() - movedAt)} ms`);
    } finally {
      await fresh.close();
    }
  });
});
