// Checks, with a real model, that a greedy answer whose slot is taken back for more urgent ones reads as if it had never been:
// it goes on from its tokens, in every phase, and counts what it would have counted.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../test/parts.ts';
import { LlamaBackend } from '../backends/llama/llama-backend.ts';
import type { ChatRequest, TokenEvent, Usage } from '../core/chat.ts';
import { systemClock } from '../core/clock.ts';
import { newRecord, type RequestRecord } from '../core/observer.ts';
import type { Priority } from '../core/priority.ts';
import type { ServedModel } from '../core/world.ts';
import { Scheduler } from '../scheduling/scheduler.ts';
import { Pipeline } from './pipeline.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const TOKENS = 48;

interface Read {
  readonly words: string;
  readonly usage: Usage;
  readonly reason: string | undefined;
  readonly record: RequestRecord;
}

describe('a batch answer that makes way', { skip: missingModel(), concurrency: false }, () => {
  let backend: LlamaBackend;
  let pipeline: Pipeline;
  let model: ServedModel;
  before(async () => {
    backend = new LlamaBackend({
      id: 'engine',
      modelFile,
      speaker: 's',
      batchSize: 1,
      contextTokens: 512,
      log: () => {},
    });
    await backend.start();
    const scheduler = new Scheduler({ clock: systemClock, maxWaitingTokens: 100_000, maxWaitMs: 60_000 });
    pipeline = new Pipeline({ scheduler, observer: {}, clock: systemClock, logBytes: 1024 * 1024 });
    const unknown = { contextWindow: undefined, licence: undefined, created: 0 };
    model = { id: 'm', speaker: 's', backends: [backend], ...unknown };
  });
  after(() => backend.close());

  async function ask(
    priority: Priority,
    rest: Partial<ChatRequest>,
    onEvent: (event: TokenEvent) => void = () => {},
  ): Promise<Read> {
    const record = { ...newRecord(priority, 'test', 'someone', systemClock.now()), priority };
    const messages = [{ role: 'user', content: 'Tell me about the sea.' }] as const;
    const request: ChatRequest = {
      model: 'm',
      prompt: { kind: 'messages', messages },
      sampling: { temperature: 0 },
      maxTokens: TOKENS,
      stop: [],
      choices: 1,
      extra: {},
      ...rest,
    };
    const job = { record, model, calls: [request], parallel: 1, deadlineMs: undefined };
    const read = { words: '', usage: {}, reason: undefined as string | undefined };
    for await (const event of pipeline.start(job).log.read()) {
      if (event.type === 'text-delta') read.words += event.text;
      if (event.type === 'choice-end') read.reason = event.reason;
      if (event.type === 'finish') read.usage = event.usage;
      onEvent(event);
    }
    return { ...read, record };
  }

  test('it reads as the undisturbed one, wherever it was stopped', async () => {
    const undisturbed = await ask('batch', {});
    const urgent: Promise<Read>[] = [];
    let deltas = 0;
    const stops = new Set([1, 7, 20, 40]);
    const disturbed = await ask('batch', {}, ({ type }) => {
      if (type !== 'text-delta') return;
      deltas += 1;
      const prompt = { kind: 'text', text: `One, two, ${deltas}` } as const;
      if (stops.has(deltas)) urgent.push(ask('interactive', { prompt, maxTokens: 4 }));
    });
    assert.equal(disturbed.record.preempted, stops.size);
    assert.deepEqual([disturbed.words, disturbed.reason], [undisturbed.words, undisturbed.reason]);
    assert.equal(disturbed.usage.completionTokens, undisturbed.usage.completionTokens);
    assert.equal(disturbed.usage.promptTokens, undisturbed.usage.promptTokens);
    const { continued, failovers } = disturbed.record;
    assert.deepEqual([continued, failovers], [0, 0]);
    for (const { words, record } of await Promise.all(urgent)) {
      assert.notEqual(words, '');
      assert.equal(record.preempted, 0);
    }
  });

  test('one that has said nothing yet begins anew', async () => {
    const undisturbed = await ask('batch', {});
    const batch = ask('batch', {});
    const urgent = ask('interactive', { prompt: { kind: 'text', text: 'One, two' }, maxTokens: 4 });
    assert.equal((await urgent).usage.completionTokens, 4);
    const { words, record } = await batch;
    assert.deepEqual([words, record.preempted], [undisturbed.words, 1]);
  });

  test('what it answers in a form keeps to it', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 12 }, people: { type: 'integer', maximum: 999 } },
      required: ['city', 'people'],
    };
    const form = {
      responseFormat: { kind: 'schema', schema, path: 'schema', original: {} },
      maxTokens: 80,
    } as const;
    const undisturbed = await ask('batch', form);
    let urgent: Promise<Read> | undefined;
    const disturbed = await ask('batch', form, ({ type }) => {
      if (type === 'text-delta') urgent ??= ask('interactive', { maxTokens: 4 });
    });
    await urgent;
    assert.deepEqual([disturbed.words, disturbed.record.preempted], [undisturbed.words, 1]);
    assert.deepEqual(Object.keys(JSON.parse(disturbed.words)), ['city', 'people']);
  });
});
