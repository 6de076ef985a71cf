// Checks the whole embedded engine with a real model, through LlamaBackend.
// It must never ask for bit-equal text under load: greedy text depends on the batch's shape.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ChatRequest, FinishReason, Message, TokenEvent, Usage } from '../../core/chat.ts';
import { GatewayError } from '../../core/errors.ts';
import { LlamaBackend, type StepFigures } from './llama-backend.ts';

const modelFile = process.env.SLUICE_TEST_MODEL ?? '';
const skip = modelFile === '' && 'SLUICE_TEST_MODEL names no model file';

interface Answer {
  text: string;
  reason: FinishReason | undefined;
  usage: Usage;
  /** When each delta came, ms on the monotonic clock. */
  deltasAt: number[];
  events: TokenEvent[];
}

interface Ask extends Partial<ChatRequest> {
  readonly user?: string;
  readonly tenant?: string;
  readonly signal?: AbortSignal;
  readonly onDelta?: (answer: Answer) => void;
}

async function chat(backend: LlamaBackend, ask: Ask): Promise<Answer> {
  const { user, tenant, signal, onDelta, ...rest } = ask;
  const answer: Answer = { text: '', reason: undefined, usage: {}, deltasAt: [], events: [] };
  const request: ChatRequest = {
    model: 'm',
    prompt: { kind: 'messages', messages: [{ role: 'user', content: user ?? 'Tell me about the sea.' }] },
    sampling: { temperature: 0 },
    maxTokens: 24,
    stop: [],
    choices: 1,
    extra: {},
    ...rest,
  };
  const context = { callId: 'c', tenant: tenant ?? 'a', signal: signal ?? new AbortController().signal };
  await backend.chat(request, context, (event) => {
    answer.events.push(event);
    if (event.type === 'text-delta') {
      answer.text += event.text;
      answer.deltasAt.push(performance.now());
      onDelta?.(answer);
    } else if (event.type === 'choice-end') answer.reason = event.reason;
    else if (event.type === 'finish') answer.usage = event.usage;
  });
  return answer;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function until(condition: () => boolean, ms: number, what: string): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `timed out: ${what}`);
    await sleep(10);
  }
}

const aborted = (): GatewayError => new GatewayError('cancelled', 'The client left.');

describe('the embedded engine', { skip, concurrency: false }, () => {
  let backend: LlamaBackend;
  const steps: StepFigures[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'sluice-engine-'));

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
    rmSync(folder, { recursive: true, force: true });
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
    assert.equal(answer.reason, 'stop');
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
      slots: 1,
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
        onDelta: (answer) => void (begun[index] = answer.deltasAt.length),
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

  test('kill -9 of the engine: honest errors at once, ready again, next call served', async (t) => {
    const states: string[] = [];
    const stopListening = backend.onLoadChange(() => states.push(backend.load().state));
    const pid = backend.childPid ?? 0;
    let killedAt = 0;
    const call = chat(backend, {
      maxTokens: 2_000,
      onDelta: (answer) => {
        if (answer.deltasAt.length !== 3) return;
        killedAt = performance.now();
        process.kill(pid, 'SIGKILL');
      },
    });
    await assert.rejects(call, { code: 'backend_failed', message: /SIGKILL/ });
    const failedAfter = performance.now() - killedAt;
    assert.ok(failedAfter < 1_000);
    const down = backend.load();
    assert.deepEqual([down.state, down.slots, down.reason], ['loading', 0, 'the engine is restarting']);
    await assert.rejects(chat(backend, {}), { code: 'not_ready' });
    await until(() => backend.load().state === 'ready', 20_000, 'ready again');
    const readyAfter = performance.now() - killedAt;
    t.diagnostic(`failed after ${Math.round(failedAfter)} ms, ready after ${Math.round(readyAfter)} ms`);
    assert.ok(readyAfter < 10_000);
    assert.equal((await chat(backend, {})).reason, 'length');
    stopListening();
    assert.deepEqual(states, ['loading', 'ready']);
    assert.equal(isAlive(pid), false);
  });

  test('an engine that is stuck is killed when a call is cancelled', async () => {
    const controller = new AbortController();
    const pid = backend.childPid ?? 0;
    const call = chat(backend, {
      maxTokens: 2_000,
      signal: controller.signal,
      onDelta: (answer) => {
        if (answer.deltasAt.length !== 3) return;
        process.kill(pid, 'SIGSTOP');
        controller.abort(aborted());
      },
    });
    await assert.rejects(call, { code: 'cancelled' });
    await until(() => !isAlive(pid), 2_000, 'killed');
    await until(() => backend.load().state === 'ready', 20_000, 'ready again');
  });

  test('a cut model file: one sentence, and this process lives', async () => {
    const bytes = readFileSync(modelFile);
    for (const [index, length] of [1_000, 2_000_000, bytes.length >> 1].entries()) {
      const cut = join(folder, `cut-${index}.gguf`);
      writeFileSync(cut, bytes.subarray(0, length));
      const broken = new LlamaBackend({ id: 'cut', modelFile: cut, speaker: 's', log: () => {} });
      await assert.rejects(broken.start(), /^Error: The engine could not start: [^\n]+\.$/);
      assert.equal(broken.load().state, 'failed');
      await assert.rejects(chat(broken, {}), { code: 'backend_failed' });
      await broken.close();
    }
    const missing = new LlamaBackend({
      id: 'no',
      modelFile: join(folder, 'no.gguf'),
      speaker: 's',
      log: () => {},
    });
    await assert.rejects(missing.start(), /could not start/);
  });

  test('kill -9 of the parent leaves no engine', async () => {
    const script = join(folder, 'parent.ts');
    const url = new URL('./llama-backend.ts', import.meta.url).href;
    writeFileSync(
      script,
      `import { LlamaBackend, type StepFigures } from ${JSON.stringify(url)};
      const b = new LlamaBackend({ id: 'm', modelFile: ${JSON.stringify(modelFile)}, speaker: 's', slots: 1,
        contextTokens: 512, log: () => {} });
      await b.start();
      console.log(b.childPid);
      await b.chat({ model: 'm', prompt: { kind: 'text', text: 'The sea' }, sampling: {}, stop: [], choices: 1,
        extra: {} }, { callId: '1', tenant: 'a', signal: new AbortController().signal }, () => {});`,
    );
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await new Promise<number>((resolve) => {
      parent.stdout.on('data', (data) => resolve(Number(String(data))));
    });
    assert.ok(isAlive(pid));
    parent.kill('SIGKILL');
    await until(() => !isAlive(pid), 3_000, 'the engine is gone');
  });

  test('closing fails what still runs, and leaves no process', async () => {
    const pid = backend.childPid ?? 0;
    const call = chat(backend, { maxTokens: 2_000 });
    call.catch(() => {});
    await sleep(300);
    await backend.close();
    await assert.rejects(call, { code: 'backend_failed' });
    await assert.rejects(chat(backend, {}), { code: 'backend_failed' });
    assert.equal(backend.load().state, 'closed');
    assert.equal(isAlive(pid), false);
  });
});
