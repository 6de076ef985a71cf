// Checks driver.ts with sequences that only remember what they were asked.
// It must never load a model.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { callFormOf } from './call-form.ts';
import { Driver, type DriverCall } from './driver.ts';
import type { EngineSequence } from './engine-sequence.ts';
import type { CallEvent, EngineSampling, SampledToken, Step } from './messages.ts';
import { PrefixStore } from './prefix-store.ts';
import { AnswerText } from './text.ts';

const SAMPLING: EngineSampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
};
const END = 0;

/** Yields 'a' for ever, or `script`, one macrotask a token. */
class FakeSequence implements EngineSequence {
  contextTokens: number[] = [];
  canTruncate = true;
  readonly work: string[] = [];
  script: (number | Error)[] = [];

  async truncate(length: number): Promise<void> {
    if (length < this.contextTokens.length) this.work.push(`truncate ${length}`);
    this.contextTokens.length = Math.min(length, this.contextTokens.length);
  }

  async saveState(file: string): Promise<void> {
    this.work.push(`save ${this.contextTokens.length}`);
    writeFileSync(file, JSON.stringify(this.contextTokens));
  }

  async loadState(file: string): Promise<void> {
    this.contextTokens = JSON.parse(readFileSync(file, 'utf8'));
    this.work.push(`load ${this.contextTokens.length}`);
  }

  async feed(tokens: readonly number[]): Promise<void> {
    await new Promise(setImmediate);
    this.work.push(`feed ${tokens.length}`);
    this.contextTokens.push(...tokens);
  }

  generate(tokens: readonly number[]): AsyncIterator<SampledToken> {
    let next = [...tokens];
    return {
      next: async () => {
        await new Promise(setImmediate);
        this.contextTokens.push(...next);
        const token = this.script.shift() ?? 97;
        if (token instanceof Error) throw token;
        next = [token];
        return { done: false, value: { token } };
      },
      return: async () => ({ done: true, value: undefined }),
    };
  }
}

const folder = mkdtempSync(join(tmpdir(), 'sluice-driver-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Bench {
  readonly driver: Driver;
  readonly steps: Step[];
  readonly sequences: FakeSequence[];
  readonly gaveUp: string[];
  /** Tokens of each computation. */
  readonly computed: number[];
  /** Resolves with the call's last event. */
  ended(call: number): Promise<CallEvent>;
  text(call: number): string;
}

function bench(slots: number): Bench {
  const sequences = Array.from({ length: slots }, () => new FakeSequence());
  const steps: Step[] = [];
  const gaveUp: string[] = [];
  const computed: number[] = [];
  const events = (): CallEvent[] => steps.flatMap((step) => step.events);
  const prefixes = new PrefixStore({ folder, maxBytes: 1_000_000, canTruncate: true, log: () => {} });
  const driver = new Driver({
    sequences,
    prefixes,
    busySeconds: 0.33,
    isEndToken: (token) => token === END,
    post: (step) => steps.push(step),
    onCompute: (tokens) => () => computed.push(tokens),
    giveUp: (reason) => gaveUp.push(reason),
  });
  void driver.run();
  return {
    driver,
    steps,
    sequences,
    gaveUp,
    computed,
    ended: async (call) => {
      for (;;) {
        const last = events().find(
          (event) => event.call === call && (event.type === 'end' || event.type === 'failed'),
        );
        if (last !== undefined) return last;
        await new Promise(setImmediate);
      }
    },
    text: (call) =>
      events()
        .map((event) => (event.call === call && event.type === 'text' ? event.text : ''))
        .join(''),
  };
}

function call(id: number, promptTokens: number, more: Partial<DriverCall> = {}): DriverCall {
  return {
    call: id,
    tenant: 'a',
    tokens: Array.from({ length: promptTokens }, (_, index) => index + 1),
    continued: [],
    sampling: SAMPLING,
    maxTokens: 5,
    answer: new AnswerText({
      detokenize: (tokens) => String.fromCodePoint(...tokens),
      before: [],
      stop: [],
    }),
    ...more,
  };
}

test('a call runs to its length, and says exactly what it used', async () => {
  const { driver, ended, text, steps, computed } = bench(2);
  driver.add(call(1, 10));
  assert.deepEqual(await ended(1), {
    type: 'end',
    call: 1,
    reason: 'length',
    usage: { promptTokens: 10, cachedTokens: 0, completionTokens: 5, reasoningTokens: undefined },
  });
  assert.equal(text(1), 'aaaaa');
  assert.deepEqual(computed, [10, 1, 1, 1, 1]);
  assert.equal(
    steps.reduce((sum, step) => sum + step.decodedTokens, 0),
    5,
  );
  assert.equal(
    steps.reduce((sum, step) => sum + step.prefillTokens, 0),
    10,
  );
});

test('something small is done at once where nothing runs, and else one such a step', async () => {
  const { driver, ended, steps } = bench(1);
  let done = 0;
  driver.doBetween(() => done++);
  await new Promise(setImmediate);
  assert.equal(done, 1);
  const doneAt: number[] = [];
  driver.add(call(1, 3, { maxTokens: 20 }));
  for (let i = 0; i < 5; i++) driver.doBetween(() => doneAt.push(steps.length));
  await ended(1);
  assert.equal(new Set(doneAt).size, 5, doneAt.join());
});

test('the end token ends it and is counted but not shown', async () => {
  const { driver, ended, text, sequences } = bench(1);
  sequences[0]?.script.push(104, 105, END);
  driver.add(call(1, 3));
  const end = await ended(1);
  assert.equal(end.type === 'end' && end.reason, 'stop');
  assert.equal(end.type === 'end' && end.usage.completionTokens, 3);
  assert.equal(text(1), 'hi');
});

test('a stop string across tokens ends it, and no part of it is shown', async () => {
  const { driver, ended, text, sequences } = bench(1);
  sequences[0]?.script.push(104, 83, 84, 79, 80, 120);
  const answer = new AnswerText({
    detokenize: (tokens) => String.fromCodePoint(...tokens),
    before: [],
    stop: ['STOP'],
  });
  driver.add(call(1, 3, { answer, maxTokens: 50 }));
  const end = await ended(1);
  assert.deepEqual(end.type === 'end' && [end.reason, end.stop], ['stop', 'STOP']);
  assert.equal(text(1), 'h');
});

test('a long prompt is fed in slices, between which running calls get their tokens', async () => {
  const { driver, ended, steps, sequences } = bench(2);
  driver.add(call(1, 4, { maxTokens: 1_000_000 }));
  while (steps.length < 3) await new Promise(setImmediate);
  driver.add(call(2, 900, { tenant: 'b' }));
  await ended(2);
  driver.cancel(1);
  await ended(1);
  const slices = steps.filter((step) => step.prefillTokens > 1);
  assert.ok(slices.length > 2, 'in several slices');
  assert.ok(slices.every((step) => step.decodedTokens > 0));
  assert.ok(sequences[1]?.work.every((work) => Number(work.split(' ')[1]) <= 512 * 1.25));
});

test('the same request again computes only its last token; another tenant computes all', async () => {
  const { driver, ended, sequences } = bench(1);
  driver.add(call(1, 40));
  await ended(1);
  driver.add(call(2, 40));
  const again = await ended(2);
  assert.equal(again.type === 'end' && again.usage.cachedTokens, 39);
  driver.add(call(3, 40, { tenant: 'b' }));
  const other = await ended(3);
  assert.equal(other.type === 'end' && other.usage.cachedTokens, 0);
  assert.deepEqual(sequences[0]?.work, ['truncate 39', 'truncate 0']);
});

test('a cancel while decoding takes effect before the next step, and its place is free at once', async () => {
  const { driver, ended, steps } = bench(1);
  driver.add(call(1, 4, { maxTokens: 1_000_000 }));
  while (steps.length < 3) await new Promise(setImmediate);
  const before = steps.length;
  driver.cancel(1);
  driver.add(call(2, 4));
  const failed = await ended(1);
  assert.equal(failed.type === 'failed' && failed.error.code, 'cancelled');
  const at = steps.findIndex((step) => step.events.includes(failed));
  const computed = steps.slice(before, at).filter((step) => step.seconds > 0);
  assert.ok(computed.length <= 1, `${computed.length} further steps`);
  assert.equal((await ended(2)).type, 'end');
});

test('a cancel while prefilling stops after the slice', async () => {
  const { driver, ended, sequences } = bench(1);
  driver.add(call(1, 4000));
  while ((sequences[0]?.work.length ?? 0) < 2) await new Promise(setImmediate);
  driver.cancel(1);
  await ended(1);
  assert.ok((sequences[0]?.work.length ?? 0) <= 3);
});

test('cancels of unknown and of finished calls are ignored', async () => {
  const { driver, ended, steps } = bench(1);
  driver.cancel(99);
  driver.add(call(1, 3));
  await ended(1);
  driver.cancel(1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(steps.flatMap((step) => step.events).filter((event) => event.type === 'failed').length, 0);
});

test('a failed step fails only its calls; three in a row give up', async () => {
  const { driver, ended, sequences, gaveUp } = bench(1);
  for (let id = 1; id <= 3; id++) {
    sequences[0]?.script.push(97, new Error('no KV slot'));
    sequences[0]?.script.splice(0, id === 1 ? 0 : 1);
    driver.add(call(id, 3));
    const failed = await ended(id);
    assert.equal(failed.type === 'failed' && failed.error.code, 'backend_failed');
    assert.match(failed.type === 'failed' ? failed.error.message : '', /no KV slot/);
  }
  assert.equal(gaveUp.length, 1);
});

test('more calls than sequences wait for a free one', async () => {
  const { driver, ended } = bench(2);
  for (let id = 1; id <= 5; id++) driver.add(call(id, 20 * id));
  for (let id = 1; id <= 5; id++) assert.equal((await ended(id)).type, 'end');
});

test('what a burst of prompts has in common is computed once', async () => {
  const { driver, ended, sequences } = bench(4);
  const shared = Array.from({ length: 300 }, (_, index) => index + 1);
  for (let id = 1; id <= 4; id++) driver.add(call(id, 0, { tokens: [...shared, 1000 + id, 2000, 3000] }));
  const ends = await Promise.all([1, 2, 3, 4].map((id) => ended(id)));
  const cached = ends.map((end) => (end.type === 'end' ? end.usage.cachedTokens : undefined));
  assert.deepEqual(cached.sort(), [0, 300, 300, 300]);
  const work = sequences.flatMap((sequence) => sequence.work);
  assert.equal(work.filter((line) => line === 'save 300').length, 1);
  assert.equal(work.filter((line) => line === 'load 300').length, 3);
  for (const [index, sequence] of sequences.entries()) {
    assert.deepEqual(sequence.contextTokens.slice(0, 303), [...shared, 1001 + index, 2000, 3000]);
  }
});

test('a kept prefix is not given to another tenant', async () => {
  const { driver, ended, sequences } = bench(1);
  const tokens = (last: number): number[] => [...Array.from({ length: 100 }, (_, index) => index + 1), last];
  for (let id = 1; id <= 3; id++) {
    driver.add(call(id, 0, { tokens: tokens(200 + id), tenant: id === 3 ? 'b' : 'a' }));
    await ended(id);
  }
  const other = await ended(3);
  assert.equal(other.type === 'end' && other.usage.cachedTokens, 0);
  assert.ok(!sequences[0]?.work.some((line) => line.startsWith('load')));
});

test('a kept prefix that was tampered with is computed again', async () => {
  const { driver, ended, sequences } = bench(2);
  const tokens = (last: number): number[] => [
    ...Array.from({ length: 100 }, (_, index) => index + 1),
    last,
    7,
  ];
  driver.add(call(1, 0, { tokens: tokens(201) }));
  driver.add(call(2, 0, { tokens: tokens(202) }));
  await Promise.all([ended(1), ended(2)]);
  for (const name of readdirSync(folder)) writeFileSync(join(folder, name), JSON.stringify([66, 66]));
  // Both sequences are overwritten by others first, so that only the file could help.
  driver.add(call(3, 50, { tenant: 'b' }));
  driver.add(call(4, 50, { tenant: 'b' }));
  await Promise.all([ended(3), ended(4)]);
  driver.add(call(5, 0, { tokens: tokens(203) }));
  const end = await ended(5);
  assert.equal(end.type === 'end' && end.usage.cachedTokens, 0);
  const last = sequences.find((sequence) => sequence.contextTokens[100] === 203);
  assert.deepEqual(last?.contextTokens.slice(0, 102), tokens(203));
});

test('a continued answer counts both parts and shows only the second', async () => {
  const { driver, ended, text, steps } = bench(1);
  const answer = new AnswerText({
    detokenize: (tokens) => String.fromCodePoint(...tokens),
    before: [],
    stop: ['aaa'],
  });
  for (const token of [98, 97]) answer.push(token);
  driver.add(call(1, 0, { tokens: [1, 2, 3, 98, 97], continued: [98, 97], maxTokens: 50, answer }));
  const end = await ended(1);
  // 'a' was held back as the beginning of the stop string: two more complete it, and none is shown.
  assert.deepEqual(end.type === 'end' && [end.reason, end.stop], ['stop', 'aaa']);
  assert.equal(text(1), '');
  assert.deepEqual(end.type === 'end' && end.usage.promptTokens, 3);
  assert.deepEqual(end.type === 'end' && end.usage.completionTokens, 4);
  assert.equal(steps.flatMap((step) => step.events).filter((event) => event.type === 'text').length, 0);
});

test('an answer that goes on from words counts them as prompt', async () => {
  const { driver, ended, text, sequences } = bench(1);
  driver.add(
    call(1, 0, { tokens: [1, 2, 3, 98, 97], continued: [98, 97], continuedIsPrompt: true, maxTokens: 2 }),
  );
  const end = await ended(1);
  assert.ok(end.type === 'end');
  assert.equal(end.reason, 'length');
  assert.deepEqual([end.usage.promptTokens, end.usage.completionTokens], [5, 2]);
  assert.equal(text(1), 'aa');
  assert.deepEqual(sequences[0]?.contextTokens.slice(0, 5), [1, 2, 3, 98, 97]);
});

test('the tokens of the text events are those that made the answer', async () => {
  const { driver, ended, steps, sequences } = bench(1);
  sequences[0]?.script.push(104, 105, 120, END);
  driver.add(call(1, 3));
  await ended(1);
  const tokens = steps
    .flatMap((step) => step.events)
    .flatMap((event) => (event.type === 'text' ? event.tokens : []));
  assert.deepEqual(tokens, [104, 105, 120]);
});

test('a tool call is told with its name, and every token is told once, with what it made', async () => {
  const { driver, ended, steps, sequences } = bench(1);
  const whole = 'Hm. <tool_call>{"name":"f","arguments":{"a":1}}</tool_call>';
  sequences[0]!.script = [...whole].map((character) => character.charCodeAt(0)).concat(END);
  const answer = new AnswerText({
    detokenize: (tokens) => String.fromCodePoint(...tokens),
    before: [],
    stop: [],
    calls: { form: callFormOf('{{ tools }} <tool_call>')!, isSingle: false, newId: () => 'id' },
  });
  driver.add(call(1, 3, { answer, maxTokens: 200 }));
  assert.equal((await ended(1)).type, 'end');
  const events = steps.flatMap((step) => step.events);
  const calls = events.filter((event) => event.type === 'tool-call');
  assert.deepEqual([calls[0]!.index, calls[0]!.id, calls[0]!.name], [0, 'id', 'f']);
  assert.equal(calls.map(({ text }) => text).join(''), '{"a":1}');
  const told = events.flatMap((event) => ('tokens' in event ? event.tokens : []));
  const closing = '}</tool_call>'.length;
  assert.equal(String.fromCodePoint(...told), whole.slice(0, -closing));
});

test('a step tells of its batch: the next token of every running call, and none where none runs', async () => {
  const { driver, ended, steps } = bench(2);
  driver.add(call(1, 10, { maxTokens: 20 }));
  driver.add(call(2, 10, { maxTokens: 20 }));
  await Promise.all([ended(1), ended(2)]);
  const batches = steps.flatMap(({ batch }) => batch ?? []);
  assert.ok(batches.some(({ answers }) => answers === 2));
  assert.ok(batches.every(({ answers, seconds }) => answers >= 1 && answers <= 2 && seconds > 0));
  const firstTokens = steps.filter(({ batch, decodedTokens }) => !batch && decodedTokens > 0);
  const inBatches = batches.reduce((sum, { answers }) => sum + answers, 0);
  assert.equal(inBatches + firstTokens.length, 40, 'a first token that comes with its prompt is in no batch');
});
