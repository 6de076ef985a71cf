// Checks the embedded engine's answers with a real model, through LlamaBackend.
// It must never ask for all texts to be bit-equal under load: greedy text depends on the batch's shape.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { missingModel } from '../../../test/parts.ts';
import type { Message } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { aborted, chat, sleep, until } from './engine-testing.ts';
import { LlamaBackend, type StepFigures } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = missingModel();

describe('the embedded engine', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  const steps: StepFigures[] = [];

  before(async () => {
    backend = new LlamaBackend({
      id: 'm',
      modelFile,
      speaker: 'the-model',
      log: () => {},
      onStep: (step) => void steps.push(step),
    });
    await backend.start();
  });
  after(async () => {
    await backend.close();
  });

  test('real text comes, in order, with exact usage', async () => {
    const answer = await chat(backend, {});
    assert.match(answer.text, /[a-z]+ [a-z]+/i);
    assert.equal(answer.events[0]?.type, 'start');
    assert.deepEqual(
      answer.events.slice(-2).map((event) => event.type),
      ['choice-end', 'finish'],
    );
    assert.equal(answer.reason, 'length');
    assert.equal(answer.usage.completionTokens, 24);
    assert.ok((answer.usage.promptTokens ?? 0) > 10);
    assert.equal(backend.load().state, 'ready');
  });

  test('greedy is deterministic when alone', async () => {
    const first = await chat(backend, { tenant: 'd1' });
    const second = await chat(backend, { tenant: 'd2' });
    assert.equal(first.text, second.text);
  });

  test('in a batch every call gets its own answer', async (t) => {
    const topics = ['rivers', 'dogs', 'clocks', 'bread'];
    const alone: string[] = [];
    for (const topic of topics) {
      alone.push((await chat(backend, { user: `Tell me about ${topic}.`, tenant: `solo-${topic}` })).text);
    }
    const together = await Promise.all(
      topics.map((topic) => chat(backend, { user: `Tell me about ${topic}.`, tenant: `batch-${topic}` })),
    );
    const equal = together.filter((answer, index) => answer.text === alone[index]).length;
    t.diagnostic(`${equal} of ${topics.length} greedy texts equal those computed alone`);
    assert.equal(new Set(together.map((answer) => answer.text)).size, topics.length);
    for (const [index, answer] of together.entries()) {
      assert.equal(answer.text.slice(0, 3), alone[index]?.slice(0, 3), 'begins alike');
    }
  });

  test('who is computed beside seven others says what it says alone, but for rounding', async (t) => {
    const topics = ['rivers', 'dogs', 'clocks', 'bread', 'ships', 'snow', 'bees', 'music'];
    // So long that it goes back to the place where it was computed, or has its state from there.
    const known = (topic: string) =>
      `I know that ${topic} are old, and that people wrote of ${topic}. `.repeat(6);
    const ask = (topic: string) =>
      chat(backend, {
        user: `${known(topic)}Name three things about ${topic}.`,
        tenant: 'eight',
        maxTokens: 24,
      });
    for (const topic of topics) await ask(topic);
    // With the whole prompt cached, so that its cutting into slices makes no difference.
    const alone = new Map<string, string>();
    for (const topic of topics) alone.set(topic, (await ask(topic)).text);
    let equal = 0;
    // In orders that are not that of the engine's places.
    for (const order of [topics.toReversed(), [...topics.slice(3), ...topics.slice(0, 3)], topics]) {
      const together = await Promise.all(order.map(ask));
      equal += together.filter(({ text }, index) => text === alone.get(order[index]!)).length;
    }
    t.diagnostic(`${equal} of 24 texts are equal`);
    assert.ok(equal >= 18, `${equal} of 24`);
  });

  test('a seed repeats a sampled answer, and calls without one differ', async () => {
    const sampling = { temperature: 1.5, topK: 100 };
    const seeded = { ...sampling, seed: 7 };
    const texts = [];
    for (const tenant of ['s1', 's2']) texts.push((await chat(backend, { tenant, sampling: seeded })).text);
    assert.equal(texts[0], texts[1]);
    const free = await Promise.all(['s3', 's4', 's5'].map((tenant) => chat(backend, { tenant, sampling })));
    assert.equal(new Set(free.map((answer) => answer.text)).size, 3);
  });

  test('a strong frequency penalty changes a greedy answer', async () => {
    const ask = { user: 'Repeat the word yes many times.', maxTokens: 40 };
    const usual = await chat(backend, ask);
    const punished = await chat(backend, { ...ask, sampling: { temperature: 0, frequencyPenalty: 2 } });
    assert.notEqual(usual.text, punished.text);
  });

  test('Chinese and emoji come whole', async () => {
    const prompt = { kind: 'text', text: '😀😀😀 你好，你好，你好，😀😀😀 你好，你好，' } as const;
    const answer = await chat(backend, { prompt, maxTokens: 40 });
    assert.match(answer.text, /[\u4e00-\u9fff]|\p{Extended_Pictographic}/u);
    const deltas = answer.events.filter((event) => event.type === 'text-delta').slice(0, -1);
    assert.ok(deltas.every((event) => event.text.isWellFormed() && !event.text.includes('\uFFFD')));
  });

  test('a stop string that straddles tokens is never shown, in whole or part', async () => {
    const whole = await chat(backend, { maxTokens: 30 });
    const stop = whole.text.slice(21, 33);
    const answer = await chat(backend, { maxTokens: 30, stop: [stop, 'never in it'] });
    assert.equal(answer.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.deepEqual([answer.reason, answer.stop], ['stop', stop]);
    assert.deepEqual([whole.reason, whole.stop], ['length', undefined]);
  });

  test('the same request again is cached, for its tenant only', async () => {
    const first = await chat(backend, { tenant: 'cache', user: 'What is a lighthouse?' });
    const again = await chat(backend, { tenant: 'cache', user: 'What is a lighthouse?' });
    const other = await chat(backend, { tenant: 'stranger', user: 'What is a lighthouse?' });
    assert.equal(first.usage.cachedTokens, 0);
    assert.equal(again.usage.cachedTokens, (again.usage.promptTokens ?? 0) - 1);
    assert.equal(other.usage.cachedTokens, 0);
    assert.equal(again.text, first.text);
  });

  test('max_tokens of any size is capped to the window', async () => {
    const small = new LlamaBackend({
      id: 's',
      modelFile,
      speaker: 's',
      batchSize: 1,
      contextTokens: 256,
      log: () => {},
    });
    await small.start();
    try {
      for (const [words, maxTokens] of [
        [200, 1e18],
        [230, undefined],
        [254, 5],
      ] as const) {
        const text = 'sea '.repeat(words);
        const answer = await chat(small, { prompt: { kind: 'text', text }, maxTokens });
        assert.equal(answer.reason, 'length');
        assert.equal((answer.usage.promptTokens ?? 0) + (answer.usage.completionTokens ?? 0), 256);
      }
      await assert.rejects(chat(small, { prompt: { kind: 'text', text: 'sea '.repeat(255) } }), {
        code: 'context_length_exceeded',
        message: /has 256 tokens; the context window is 256 /,
      });
    } finally {
      await small.close();
    }
  });

  test('an aborted signal rejects at once, and a sink that throws ends the call', async () => {
    await assert.rejects(chat(backend, { signal: AbortSignal.abort(aborted()) }), { code: 'cancelled' });
    const gone = new GatewayError('slow_reader', 'Too slow.');
    await assert.rejects(
      chat(backend, {
        maxTokens: 2_000,
        onDelta: () => {
          throw gone;
        },
      }),
      gone,
    );
    assert.equal((await chat(backend, {})).reason, 'length');
  });

  test('a cancel while decoding stops the engine within one step', async (t) => {
    const controller = new AbortController();
    let at = 0;
    let stepsAt = 0;
    const call = chat(backend, {
      maxTokens: 2_000,
      signal: controller.signal,
      onDelta: (answer) => {
        if (answer.deltasAt.length !== 5) return;
        at = performance.now();
        stepsAt = backend.counters().steps;
        controller.abort(aborted());
      },
    });
    await assert.rejects(call, { code: 'cancelled' });
    t.diagnostic(`free after ${Math.round(performance.now() - at)} ms`);
    assert.ok(backend.counters().steps - stepsAt <= 1, 'at most one further step');
    const { steps } = backend.counters();
    await sleep(300);
    assert.equal(backend.counters().steps, steps, 'nothing goes on');
  });

  test('a cancel while prefilling stops after the slice', async (t) => {
    const controller = new AbortController();
    const before = backend.counters();
    const prompt = { kind: 'text', text: 'river stone '.repeat(1500) } as const;
    const call = chat(backend, { prompt, signal: controller.signal, tenant: 'prefill' });
    call.catch(() => {});
    await until(() => backend.counters().steps >= before.steps + 2, 20_000, 'two slices');
    const { steps } = backend.counters();
    const at = performance.now();
    controller.abort(aborted());
    await assert.rejects(call, { code: 'cancelled' });
    t.diagnostic(`free after ${Math.round(performance.now() - at)} ms`);
    assert.ok(backend.counters().steps - steps <= 1);
    assert.ok(backend.counters().prefillTokens - before.prefillTokens < 3_000);
    assert.equal(backend.counters().decodedTokens, before.decodedTokens);
  });

  test('more calls than slots are refused as busy', async () => {
    const controller = new AbortController();
    const calls = Array.from({ length: 8 }, (_, index) =>
      chat(backend, { tenant: `busy-${index}`, maxTokens: 1_000, signal: controller.signal }),
    );
    for (const call of calls) call.catch(() => {});
    await assert.rejects(chat(backend, {}), { code: 'backend_busy' });
    controller.abort(aborted());
    const ends = await Promise.allSettled(calls);
    assert.ok(ends.every((end) => end.status === 'rejected'));
  });

  test('a prompt over the window is refused with both numbers', async () => {
    const prompt = { kind: 'text', text: 'sea '.repeat(5_000) } as const;
    await assert.rejects(chat(backend, { prompt }), {
      code: 'context_length_exceeded',
      message: /has 500\d tokens; the context window is 4096 /,
    });
    const messages = Array.from({ length: 10_000 }, (): Message => ({ role: 'user', content: 'x' }));
    const at = performance.now();
    await assert.rejects(chat(backend, { prompt: { kind: 'messages', messages } }), {
      code: 'context_length_exceeded',
    });
    assert.ok(performance.now() - at < 500);
  });

  test('odd texts are answered', async () => {
    const odd = [
      '\0',
      '\ud800 lone',
      '<|im_start|>system\n<|endoftext|>',
      '',
      '\u202e\ufeff',
      '{{ 7 * 7 }}{% raw %}',
    ];
    const answers = await Promise.all(
      odd.map((user, index) => chat(backend, { user, tenant: `odd-${index}` })),
    );
    assert.ok(answers.every((answer) => answer.reason !== undefined));
    for (const text of ['\0', '\udfff', '<|im_end|>']) {
      const answer = await chat(backend, { prompt: { kind: 'text', text }, maxTokens: 2 });
      assert.ok((answer.usage.promptTokens ?? 0) >= 1);
    }
    const look = '<|im_end|><|im_end|><|im_end|>';
    const text = await chat(backend, { prompt: { kind: 'text', text: look }, maxTokens: 1 });
    assert.ok((text.usage.promptTokens ?? 0) > 3, 'spelt out, not three control tokens');
  });

  test('a long newcomer does not hold running streams', async (t) => {
    const begun = [0, 0, 0, 0];
    const running = begun.map((_, index) =>
      chat(backend, {
        tenant: `gap-${index}`,
        maxTokens: 120,
        onDelta: (answer) => {
          begun[index] = answer.deltasAt.length;
        },
      }),
    );
    await until(() => running.every((_, index) => (begun[index] ?? 0) > 1), 20_000, 'all four run');
    const from = performance.now();
    const prompt = { kind: 'text', text: 'river '.repeat(1_500) } as const;
    const stepsBefore = steps.length;
    const newcomer = await chat(backend, { prompt, tenant: 'newcomer', maxTokens: 2 });
    const prefills = steps.slice(stepsBefore).filter((step) => step.prefillTokens > 10);
    assert.ok((newcomer.usage.promptTokens ?? 0) >= 1_500);
    const firstToken = (newcomer.deltasAt[0] ?? 0) - from;
    const gaps = (await Promise.all(running)).flatMap(({ deltasAt }) =>
      deltasAt.slice(1).map((at, index) => ({ at, gap: at - (deltasAt[index] ?? at) })),
    );
    const during = gaps.filter(({ at }) => at > from).map(({ gap }) => gap);
    const longest = Math.max(...during);
    t.diagnostic(
      `longest gap ${Math.round(longest)} ms; newcomer's first token after ${Math.round(firstToken)} ms`,
    );
    // Time is the aim, but a busy machine must not fail it while the slices are as small as they get.
    const slices = prefills.map((step) => step.prefillTokens);
    assert.ok(longest < 500 || Math.max(...slices.slice(2)) <= 80, `slices of ${slices.join(', ')}`);
    assert.ok(
      prefills.slice(0, 3).every((step) => step.decodedTokens >= 4),
      'the streams go on in every step',
    );
    assert.ok(longest < 5_000);
  });
});
