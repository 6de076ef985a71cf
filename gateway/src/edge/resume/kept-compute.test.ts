// Guards what stays in memory of an answer that is kept: its events, and not the conversation that it answers nor the
// connection on which it was asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ManualClock } from '../../../test/manual-clock.ts';
import type { TokenEvent } from '../../core/chat.ts';
import { newRecord } from '../../core/observer.ts';
import type { Answer, Pipeline } from '../../pipeline/pipeline.ts';
import { StreamLog } from '../../pipeline/stream-log.ts';
import { MemoryQuotaStore } from '../../scheduling/memory-quota-store.ts';
import { KeyQuotas } from '../../scheduling/quota.ts';
import { chatCompletions } from '../../wire/dialects/chat-completions.ts';
import type { Asked } from '../asking/asked.ts';
import type { Exchange } from '../http/exchange.ts';
import { KeptAnswers } from './kept-answers.ts';
import { beginKept, type KeptComputeOptions } from './kept-compute.ts';

const WORDS: readonly TokenEvent[] = [
  { type: 'start', speaker: 'm' },
  { type: 'text-delta', choice: 0, text: 'A river.' },
  { type: 'choice-end', choice: 0, reason: 'stop' },
  { type: 'finish', usage: {} },
];

/** A server that says these words to everybody. */
function newOptions(): KeptComputeOptions {
  const clock = new ManualClock();
  const start = (): Answer => {
    const log = new StreamLog({ maxBytes: 1_000_000, clock, onAbandoned: () => {} });
    for (const word of WORDS) log.push(word);
    log.end();
    return { log, cancel: (reason) => log.fail(reason) };
  };
  const kept = new KeptAnswers({
    clock,
    graceMs: 30_000,
    keepMs: 300_000,
    bufferBytes: 1_000_000,
    memoryBytes: 10_000_000,
  });
  return {
    pipeline: { start } as unknown as Pipeline,
    quotas: new KeyQuotas(new MemoryQuotaStore(clock)),
    kept,
    observer: {},
    clock,
    keepAliveMs: 10_000,
  };
}

/** What a connection asks; of it only the headers that are set on the way are looked at. */
function newAsked(stream: boolean): Asked {
  const body = { model: 'm', stream, messages: [{ role: 'user', content: 'What is a river?' }] };
  return {
    exchange: { setHeader: () => {} } as unknown as Exchange,
    dialect: chatCompletions,
    modelInPath: undefined,
    key: { tenant: 'someone', digest: Buffer.alloc(32), models: undefined },
    world: { models: new Map(), keys: [] },
    record: newRecord('request', 'chat_completions', 'someone', 0),
    request: chatCompletions.parse(body, undefined),
    model: { id: 'm', speaker: 'm', created: 0, backends: [], tiers: [], names: new Map() },
    deadlineMs: undefined,
    failover: true,
    mayDegrade: true,
    mayShare: true,
    session: undefined,
    hops: [],
    meta: { id: 'request', created: 0, model: 'm' },
    wantsReport: false,
    isResumable: stream,
  } as unknown as Asked;
}

for (const stream of [true, false]) {
  const form = stream ? 'a stream' : 'one JSON';
  test(`of ${form} that has ended neither its request nor its connection is held`, async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const options = newOptions();
    const begin = () => {
      const asked = newAsked(stream);
      const kept = beginKept(asked, { name: 'n', fingerprint: 'f' }, options)!;
      return { kept, gone: [new WeakRef(asked.request), new WeakRef(asked.exchange)] };
    };
    const { kept, gone } = begin();
    while (kept.isRunning) await new Promise(setImmediate);
    assert.equal(kept.failure, undefined);
    // What was looked at in a turn is held until the turn is over.
    await new Promise(setImmediate);
    collect();
    assert.deepEqual(
      gone.map((one) => one.deref()),
      [undefined, undefined],
    );
    // It is there all the same, and says what it is.
    assert.equal(options.kept.count, 1);
    assert.equal(kept.guise.headers()['x-sluice-model'], 'm');
    options.kept.close();
  });
}
